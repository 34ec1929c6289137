package fanfare_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
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

// The tests of this file run the engine over the reference broker in fake time.

// faulty is a broker that fails where it is told to.
type faulty struct {
	*drivertest.Memory
	fail   func(verb string) error
	claims atomic.Int64
	most   atomic.Int64 // greatest Limit of a claim
}

func (f *faulty) failing(verb string) error {
	if f.fail == nil {
		return nil
	}
	return f.fail(verb)
}

func (f *faulty) Subscribe(ctx context.Context, q driver.Queue) error {
	if err := f.failing("subscribe"); err != nil {
		return err
	}
	return f.Memory.Subscribe(ctx, q)
}

func (f *faulty) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	f.claims.Add(1)
	f.most.Store(max(f.most.Load(), int64(r.Limit)))
	if err := f.failing("claim"); err != nil {
		return driver.Claim{}, err
	}
	return f.Memory.Claim(ctx, q, r)
}

func (f *faulty) Extend(ctx context.Context, q driver.Queue, consumer string, lease time.Duration, held []driver.Receipt) ([]bool, error) {
	if err := f.failing("extend"); err != nil {
		return nil, err
	}
	return f.Memory.Extend(ctx, q, consumer, lease, held)
}

func (f *faulty) Settle(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
	if err := f.failing("settle"); err != nil {
		return nil, err
	}
	return f.Memory.Settle(ctx, q, s)
}

// inFakeTime runs test in a synctest bubble with a dispatcher over a faulty broker.
func inFakeTime(t *testing.T, test func(t *testing.T, d *fanfare.Durable, b *faulty), opts ...fanfare.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &faulty{Memory: drivertest.NewMemory()}
		d, err := fanfare.New(b, opts...)
		require.NoError(t, err)
		defer func() {
			ctx, cancel := contextFor(time.Minute)
			defer cancel()
			_ = d.Stop(ctx)
		}()
		test(t, d, b)
	})
}

// pass lets fake time pass, and what is due then happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var number = fanfare.NewTopic[int]("number")

func TestLongHandlerKeepsItsEvent(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		var runs atomic.Int64
		handle := func(ctx context.Context, _ int) error {
			runs.Add(1)
			select {
			case <-time.After(3 * time.Hour):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		other, err := fanfare.New(b)
		require.NoError(t, err)
		for _, d := range []*fanfare.Durable{d, other} {
			_, err := number.Register(t.Context(), d, handle)
			require.NoError(t, err)
		}
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		pass(4 * time.Hour) // fake time: lets the handler end
		require.EqualValues(t, 1, runs.Load())
		require.EqualValues(t, 1, d.Stats().Handled+other.Stats().Handled)
		require.NoError(t, other.Stop(t.Context()))
	})
}

func TestHandlerLearnsThatItsLeaseMayBeLost(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		b.fail = func(verb string) error {
			if verb == "extend" {
				return driver.ErrUnavailable
			}
			return nil
		}
		begin, ended := time.Now(), make(chan time.Duration, 10)
		var attempts []int
		_, err := number.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			attempts = append(attempts, info.Attempt)
			if len(attempts) > 1 {
				return nil
			}
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), fanfare.ErrLeaseLost)
			ended <- time.Since(begin)
			return ctx.Err()
		}, fanfare.Lease(10*time.Second), fanfare.MaxAttempts(1))
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		require.Equal(t, 9*time.Second, <-ended, "a tenth of the lease is left for clocks")
		pass(20 * time.Second)
		require.Equal(t, []int{1, 1}, attempts, "given back without an attempt: the lease had not been taken")
		require.EqualValues(t, 1, d.Stats().LeaseLost)
		require.EqualValues(t, 1, d.Stats().Handled)
	})
}

func TestResultAfterTheLeaseIsRefused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		b.fail = func(verb string) error {
			if verb == "extend" {
				return driver.ErrUnavailable
			}
			return nil
		}
		var lost []fanfare.Observation
		observed, err := fanfare.New(b, fanfare.WithObserver(fanfare.Observer{LeaseLost: func(o fanfare.Observation) { lost = append(lost, o) }}))
		require.NoError(t, err)
		release, runs := make(chan struct{}), behaviour.NewReceived[fanfare.Delivery]()
		_, err = number.Register(t.Context(), observed, func(ctx context.Context, _ int) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			if runs.Add(info) == 1 {
				<-release // deaf for its context
			}
			return nil
		}, fanfare.Lease(10*time.Second))
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		pass(15 * time.Second)
		all := runs.All()
		require.Len(t, all, 2, "taken over")
		require.Equal(t, []int{1, 2}, []int{all[0].Attempt, all[1].Attempt})
		require.Greater(t, all[1].Fence, all[0].Fence)
		close(release)
		synctest.Wait()
		require.Len(t, lost, 1)
		require.EqualValues(t, 1, observed.Stats().LeaseLost)
		require.NoError(t, observed.Stop(t.Context()))
	})
}

func TestPoisonGoesToTheDeadLetters(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		q := driver.Queue{Topic: number.Name(), Group: "default"}
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("poison")))
		for range 11 { // processes that claim it and die
			c, err := b.Memory.Claim(t.Context(), q, driver.ClaimRequest{Limit: 1, Lease: time.Second})
			require.NoError(t, err)
			require.Len(t, c.Deliveries, 1)
			pass(time.Second)
		}
		ran := false
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { ran = true; return nil })
		require.NoError(t, err)
		pass(time.Second)
		require.False(t, ran)
		letters, err := d.Queue(q.Topic, "").Dead(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Len(t, letters, 1)
		require.Equal(t, fanfare.ReasonPoison, letters[0].Reason)
	})
}

func TestUndecodableGoesToTheDeadLetters(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		require.NoError(t, d.Dispatch(t.Context(), number.Name(), fanfare.With("not a number", fanfare.ID("text"))))
		require.NoError(t, d.Dispatch(t.Context(), number.Name(), fanfare.With(map[string]int{"a": 1}, fanfare.ID("object"))))
		_, err := b.Push(t.Context(), number.Name(), []driver.Message{{ID: "empty"}, {ID: "garbage", Body: []byte("\xffgarbage")}})
		require.NoError(t, err)
		_, err = number.Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err)
		pass(time.Second)
		letters, err := d.Queue(number.Name(), "").Dead(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Len(t, letters, 4)
		for _, l := range letters {
			require.Equal(t, fanfare.ReasonUndecodable, l.Reason)
			require.NotEmpty(t, l.LastError)
			require.Equal(t, 1, l.Attempts)
		}
	})
}

func TestConsumerSurvivesItsBackend(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelInfo}))
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		var down atomic.Bool
		b.fail = func(string) error {
			if down.Load() {
				return driver.ErrUnavailable
			}
			return nil
		}
		handled, release := behaviour.NewReceived[int](), make(chan struct{})
		for _, group := range []string{"a", "b"} {
			_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error {
				if n == 1 {
					<-release
				}
				handled.Add(n)
				return nil
			}, fanfare.Group(group))
			require.NoError(t, err)
		}
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		synctest.Wait()
		down.Store(true)
		close(release) // both are done and cannot say so
		require.NoError(t, number.Dispatch(t.Context(), d, 2))
		before := b.claims.Load()
		pass(20 * time.Second) // less than the lease
		require.Less(t, b.claims.Load()-before, int64(2*20*3), "it asks now and then")
		require.Zero(t, d.Stats().Handled)
		down.Store(false)
		pass(1100 * time.Millisecond)
		require.Len(t, handled.All(), 4, "nothing ran twice")
		require.EqualValues(t, 4, d.Stats().Handled)
	}, fanfare.WithLogger(log))
	require.Equal(t, 1, strings.Count(logged.String(), "backend does not work"), logged.String())
	require.Equal(t, 1, strings.Count(logged.String(), "backend works again"), logged.String())
}

func TestClaimsNoMoreThanItCanRun(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		release := make(chan struct{})
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { <-release; return nil }, fanfare.Concurrency(3))
		require.NoError(t, err)
		for n := range 10 {
			require.NoError(t, number.Dispatch(t.Context(), d, n))
		}
		synctest.Wait()
		require.EqualValues(t, 3, b.most.Load())
		all, err := d.Status(t.Context(), number.Name())
		require.NoError(t, err)
		require.Equal(t, 3, all[0].Running)
		require.Equal(t, 7, all[0].Ready)
		close(release)
		synctest.Wait()
		require.EqualValues(t, 10, d.Stats().Handled)
		require.LessOrEqual(t, b.most.Load(), int64(3))
	})
}

func TestIdleConsumerAsksSeldom(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err)
		synctest.Wait()
		before := b.claims.Load()
		pass(time.Minute)
		require.LessOrEqual(t, b.claims.Load()-before, int64(31))
	})
}

func TestAtMostOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		var runs atomic.Int64
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { runs.Add(1); return errors.New("no") }, fanfare.AtMostOnce())
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		pass(time.Hour)
		require.EqualValues(t, 1, runs.Load())
		require.EqualValues(t, 1, d.Stats().Dead)
		all, err := d.Status(t.Context(), number.Name())
		require.NoError(t, err)
		require.Zero(t, all[0].Ready+all[0].Delayed+all[0].Running+all[0].Dead)
	})
}

func TestRegisterFailsWithItsBackend(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		b.fail = func(string) error { return driver.ErrUnavailable }
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.ErrorIs(t, err, fanfare.ErrUnavailable)
		b.fail = nil
		_, err = number.Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err, "it may be tried again")
	})
}

func TestDaysPassInFakeTime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		begin, got := time.Now(), behaviour.NewReceived[time.Duration]()
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { got.Add(time.Since(begin)); return nil })
		require.NoError(t, err)
		delays := []time.Duration{time.Millisecond, 15 * time.Minute, 3 * time.Hour, 30 * 24 * time.Hour}
		for n, delay := range delays {
			require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.Delay(delay)))
		}
		pass(31 * 24 * time.Hour)
		require.Equal(t, delays, got.All())
	}, fanfare.WithTickerInterval(time.Hour))
}

func TestObserverSeesALife(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(what string, ok func(fanfare.Observation) bool) func(fanfare.Observation) {
		return func(o fanfare.Observation) {
			mu.Lock()
			defer mu.Unlock()
			if o.Topic != number.Name() || o.ID == "" || !ok(o) {
				what += "!"
			}
			seen = append(seen, what)
		}
	}
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error {
			<-time.After(time.Second)
			if n == 1 {
				return errors.New("no")
			}
			return nil
		}, fanfare.Fixed(time.Minute), fanfare.MaxAttempts(2))
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.Delay(time.Minute)))
		require.NoError(t, number.Dispatch(t.Context(), d, 2, fanfare.Delay(time.Hour), fanfare.ID("c")))
		ok, err := d.Cancel(t.Context(), number.Name(), "c")
		require.NoError(t, err)
		require.True(t, ok)
		pass(time.Hour)
	}, fanfare.WithObserver(fanfare.Observer{
		Dispatched: note("dispatched", func(o fanfare.Observation) bool { return o.Err == nil }),
		Started:    note("started", func(o fanfare.Observation) bool { return o.Lateness >= 0 && o.Lateness < time.Second }),
		Finished:   note("finished", func(o fanfare.Observation) bool { return o.Duration == time.Second && o.Err != nil }),
		Retried:    note("retried", func(o fanfare.Observation) bool { return o.Wait == time.Minute && o.Attempt == 1 }),
		Dead:       note("dead", func(o fanfare.Observation) bool { return o.Reason == fanfare.ReasonExhausted && o.Attempt == 2 }),
		Cancelled:  note("cancelled", func(fanfare.Observation) bool { return true }),
	}))
	require.Equal(t, []string{"dispatched", "dispatched", "cancelled", "started", "finished", "retried", "started", "finished", "dead"}, seen)
}
