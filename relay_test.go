package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/behaviour"
)

func ExampleDurable_Relay() {
	ctx, here, there := context.Background(), newDurable(), newDurable()
	_, err := here.Relay(ctx, OrderPaid.Name(), "there", there)
	check(err)
	done := make(chan string)
	_, err = OrderPaid.Register(ctx, there, func(ctx context.Context, o Order) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		done <- fmt.Sprint(info.ID, " of ", o.Email)
		return nil
	})
	check(err)
	check(OrderPaid.Dispatch(ctx, here, Order{7, "ann@example.org"}, fanfare.ID("order:7")))
	fmt.Println(<-done)
	check(errors.Join(here.Stop(ctx), there.Stop(ctx)))
	// Output: order:7 of ann@example.org
}

// moody is a target that answers with an error where it has one, of events that
// it then takes or not.
type moody struct {
	fanfare.Target
	fail  func() error
	takes bool
	asked atomic.Int64
}

func (m *moody) Dispatch(ctx context.Context, topic string, event any) error {
	m.asked.Add(1)
	err := m.fail()
	if err != nil && !m.takes {
		return err
	}
	return errors.Join(m.Target.Dispatch(ctx, topic, event), err)
}

// stored returns what a dispatcher without handlers has of a topic.
func stored(t *testing.T, d *fanfare.Durable) []fanfare.Record {
	t.Helper()
	all, err := d.Queue(number.Name(), "").Peek(t.Context(), 0, 100)
	require.NoError(t, err)
	return all
}

func deadOf(t *testing.T, d *fanfare.Durable, relay string) []fanfare.Record {
	t.Helper()
	all, err := d.Queue(number.Name(), "relay:"+relay).Dead(t.Context(), 0, 100)
	require.NoError(t, err)
	return all
}

func TestRelayForwardsTheWholeEvent(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		there := newDurable()
		r, err := d.Relay(t.Context(), number.Name(), "there", there)
		require.NoError(t, err)
		require.Equal(t, "relay:there", r.Group())
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("one"), fanfare.High, fanfare.MaxAttempts(3),
			fanfare.Header("tenant", "acme"), fanfare.Header(fanfare.HeaderCausation, "zero"), fanfare.Delay(time.Hour)))
		require.NoError(t, d.Dispatch(t.Context(), number.Name(), fanfare.With("as it is", fanfare.ID("text"), fanfare.Delay(2*time.Hour))))
		pass(time.Hour - time.Second)
		require.Empty(t, stored(t, there), "not before it is due")
		pass(2 * time.Hour)
		all := stored(t, there)
		require.Len(t, all, 2)
		require.Equal(t, "one", all[0].ID)
		require.Equal(t, fanfare.High, all[0].Priority)
		require.Equal(t, map[string]string{"tenant": "acme", fanfare.HeaderCausation: "zero"}, all[0].Headers)
		require.Equal(t, []byte("1"), all[0].Payload.Bytes())
		require.Empty(t, all[1].Headers, "the relay is no cause")
		require.Equal(t, "text/plain", all[1].Payload.ContentType())

		limits := behaviour.NewReceived[int]()
		_, err = there.Register(t.Context(), number.Name(), fanfare.HandleFunc(func(ctx context.Context, _ any) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			limits.Add(info.MaxAttempts)
			return nil
		}), fanfare.MaxAttempts(7))
		require.NoError(t, err)
		synctest.Wait()
		require.ElementsMatch(t, []int{3, 7}, limits.All(), "its own limit, or none")
		require.NoError(t, there.Stop(t.Context()))
	})
}

func TestRelayOutlastsItsTarget(t *testing.T) {
	for _, failure := range []error{
		fanfare.ErrUnavailable, fanfare.ErrUnknownOutcome, fanfare.ErrBackendFull, fanfare.ErrStopped,
		fanfare.ErrMaxQueuedEventsReached, fanfare.ErrNoHandlerFound, errors.New("whatever"),
	} {
		for _, takes := range []bool{false, true} {
			t.Run(fmt.Sprint(failure, " taken ", takes), func(t *testing.T) {
				inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
					var up atomic.Bool
					there := newDurable()
					target := &moody{Target: there, takes: takes, fail: func() error {
						if !up.Load() {
							return failure
						}
						return nil
					}}
					_, err := d.Relay(t.Context(), number.Name(), "there", target)
					require.NoError(t, err)
					require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.MaxAttempts(1)))
					pass(time.Hour)
					if !takes { // else it was a duplicate when it came again
						require.Greater(t, target.asked.Load(), int64(2*60))
					}
					up.Store(true)
					pass(31 * time.Second)
					require.Len(t, stored(t, there), 1)
					require.Empty(t, deadOf(t, d, "there"))
					require.EqualValues(t, 1, d.Stats().Handled)
				})
			})
		}
	}
}

func TestRelayTakesADuplicateForForwarded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		there := newDurable()
		_, err := d.Relay(t.Context(), number.Name(), "there", there)
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), there, 1, fanfare.ID("one")))
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("one")))
		synctest.Wait()
		require.EqualValues(t, 1, d.Stats().Handled)
		require.Len(t, stored(t, there), 1)
	})
}

func TestRelayBuriesWhatIsRefusedForEver(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		there, err := fanfare.New(drivertest.NewMemory(), fanfare.WithMaxPayload(1<<10))
		require.NoError(t, err)
		_, err = d.Relay(t.Context(), number.Name(), "there", there)
		require.NoError(t, err)
		require.NoError(t, d.Dispatch(t.Context(), number.Name(), fanfare.With(strings.Repeat("x", 2<<10), fanfare.ID("large"))))
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		synctest.Wait()
		require.Len(t, stored(t, there), 1)
		letters := deadOf(t, d, "there")
		require.Len(t, letters, 1)
		require.Equal(t, "large", letters[0].ID)
		require.Equal(t, fanfare.ReasonDiscarded, letters[0].Reason)
		require.Contains(t, letters[0].LastError, fanfare.ErrTooLarge.Error())
	})
}

func TestRelaysOfATopicAreApart(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		up, down := newDurable(), &moody{fail: func() error { return fanfare.ErrUnavailable }}
		_, err := d.Relay(t.Context(), number.Name(), "up", up)
		require.NoError(t, err)
		_, err = d.Relay(t.Context(), number.Name(), "down", down, fanfare.MaxAttempts(2), fanfare.Fixed(time.Second))
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("one"), fanfare.MaxAttempts(100)))
		pass(time.Minute)
		require.Len(t, stored(t, up), 1)
		require.Empty(t, deadOf(t, d, "up"))
		require.EqualValues(t, 2, down.asked.Load(), "the relay's limit")
		letters := deadOf(t, d, "down")
		require.Len(t, letters, 1)
		require.Equal(t, fanfare.ReasonExhausted, letters[0].Reason)
	})
}

func TestRelayThatDiesForwardsOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		there := newDurable()
		q := d.Queue(number.Name(), "relay:there")
		require.NoError(t, q.Create(t.Context()))
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("one")))
		var cut atomic.Bool
		cut.Store(true)
		b.fail = func(verb string) error { // a process that can forward, and then say nothing of it
			if cut.Load() && (verb == "settle" || verb == "extend") {
				return driver.ErrUnavailable
			}
			return nil
		}
		killed, err := fanfare.New(b)
		require.NoError(t, err)
		_, err = killed.Relay(t.Context(), number.Name(), "there", there)
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, stored(t, there), 1)
		out, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, killed.Stop(out))
		cut.Store(false)

		_, err = d.Relay(t.Context(), number.Name(), "there", there)
		require.NoError(t, err)
		pass(31 * time.Second)
		require.EqualValues(t, 1, there.Stats().Duplicates, "forwarded again")
		require.Len(t, stored(t, there), 1)
		require.EqualValues(t, 1, d.Stats().Handled)
	})
}

func TestRelayToAFanout(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		var down atomic.Bool
		small, err := fanfare.New(drivertest.NewMemory(), fanfare.WithMaxPayload(1<<10))
		require.NoError(t, err)
		b := &outage{Memory: drivertest.NewMemory(), down: &down}
		late, err := fanfare.New(b)
		require.NoError(t, err)
		numbers := newLocal()
		_, err = number.Register(t.Context(), numbers, func(context.Context, int) error { return nil })
		require.NoError(t, err)
		_, err = d.Relay(t.Context(), number.Name(), "all", fanfare.Fanout{small, numbers, late})
		require.NoError(t, err)
		down.Store(true)
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("one")))
		require.NoError(t, d.Dispatch(t.Context(), number.Name(), fanfare.With(strings.Repeat("x", 2<<10), fanfare.ID("large"))))
		pass(time.Hour)
		require.Empty(t, deadOf(t, d, "all"), "one of them may yet take it")
		down.Store(false)
		pass(time.Minute)
		require.Len(t, stored(t, small), 1)
		require.Len(t, stored(t, late), 2)
		require.Len(t, deadOf(t, d, "all"), 1)
		require.EqualValues(t, 1, d.Stats().Handled)
		require.NoError(t, numbers.Stop(t.Context()))
	})
}

// outage is a broker that takes nothing while it is down.
type outage struct {
	*drivertest.Memory
	down *atomic.Bool
}

func (o *outage) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	if o.down.Load() {
		return nil, driver.ErrUnavailable
	}
	return o.Memory.Push(ctx, topic, msgs)
}

func TestRelayIntoTheProcess(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		local := newLocal()
		_, err := d.Relay(t.Context(), number.Name(), "process", local)
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		synctest.Wait()
		require.EqualValues(t, 1, d.Stats().Retried, "no handler yet")
		tries, got := 0, behaviour.NewReceived[int]()
		_, err = number.Register(t.Context(), local, func(_ context.Context, n int) error {
			if tries++; tries == 1 {
				return fmt.Errorf("of another event: %w", fanfare.ErrDuplicate)
			}
			got.Add(n)
			return nil
		}, fanfare.Synchronous())
		require.NoError(t, err)
		pass(time.Minute)
		require.Equal(t, []int{1}, got.All(), "what a handler met is no answer of the target")
		require.NoError(t, local.Stop(t.Context()))
	})
}

func TestRelayRefusesWhatItCannotBe(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		there := newDurable()
		for _, tt := range []struct {
			name string
			to   fanfare.Target
			opts []fanfare.HandlerOption
			want error
		}{
			{"", there, nil, fanfare.ErrInvalid},
			{strings.Repeat("x", 255), there, nil, fanfare.ErrInvalid},
			{"there", nil, nil, fanfare.ErrNilDispatcher},
			{"there", (*fanfare.Local)(nil), nil, fanfare.ErrNilDispatcher},
			{"there", d, nil, fanfare.ErrInvalid},
			{"there", there, []fanfare.HandlerOption{fanfare.Group("g")}, fanfare.ErrOption},
			{"there", there, []fanfare.HandlerOption{fanfare.AtMostOnce()}, fanfare.ErrOption},
			{"there", there, []fanfare.HandlerOption{nil}, fanfare.ErrOption},
		} {
			_, err := d.Relay(t.Context(), number.Name(), tt.name, tt.to, tt.opts...)
			require.ErrorIs(t, err, tt.want)
		}
		_, err := d.Relay(t.Context(), number.Name(), "there", there)
		require.NoError(t, err)
		_, err = d.Relay(t.Context(), number.Name(), "there", there)
		require.ErrorIs(t, err, fanfare.ErrGroupTaken)
	})
}

func TestRelaySeesMiddlewareThatHidesTheEvent(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		there := newDurable()
		_, err := d.Relay(t.Context(), number.Name(), "there", there)
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		pass(time.Second)
		require.Empty(t, stored(t, there))
		require.Positive(t, d.Stats().Retried, "not lost")
	}, fanfare.WithMiddleware(func(next fanfare.HandleFunc) fanfare.HandleFunc {
		return func(_ context.Context, event any) error { return next(context.Background(), event) }
	}))
}
