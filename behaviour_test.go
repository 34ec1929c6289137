package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// The tests of this file hold for every dispatcher: in process, over the
// reference broker, on Redis, and on miniredis.

// behaves runs test on every dispatcher.
func behaves(t *testing.T, test func(t *testing.T, open opener)) {
	for _, o := range openers {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			test(t, o)
		})
	}
}

// received collects what handlers get.
type received[T any] struct {
	mu  sync.Mutex
	all []T
	new chan struct{}
}

func newReceived[T any]() *received[T] { return &received[T]{new: make(chan struct{}, 1)} }

func (r *received[T]) add(v T) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, v)
	select {
	case r.new <- struct{}{}:
	default:
	}
	return len(r.all)
}

func (r *received[T]) snapshot() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]T(nil), r.all...)
}

// wait waits for n values.
func (r *received[T]) wait(t *testing.T, n int) []T {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		if all := r.snapshot(); len(all) >= n {
			return all
		}
		select {
		case <-r.new:
		case <-deadline:
			t.Fatalf("%d of %d after 10s: %v", len(r.snapshot()), n, r.snapshot())
		}
	}
}

// eventually waits until ok, looking every few milliseconds.
func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, 5*time.Millisecond, what)
}

// stays fails if ok does not hold for the time d.
func stays(t *testing.T, d time.Duration, ok func() bool, what string) {
	t.Helper()
	require.Never(t, func() bool { return !ok() }, d, 5*time.Millisecond, what)
}

func TestFailureIsTriedAgainWithBackoff(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic := fanfare.NewTopic[int](t.Name())
		attempts, times := newReceived[fanfare.Delivery](), newReceived[time.Time]()
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			times.add(time.Now())
			info, _ := fanfare.DeliveryFrom(ctx)
			if attempts.add(info) < 3 {
				return errors.New("not yet")
			}
			return nil
		}, fanfare.Fixed(60*time.Millisecond), fanfare.MaxAttempts(5))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1, fanfare.Header("k", "v"), fanfare.High))
		all, at := attempts.wait(t, 3), times.wait(t, 3)
		for i, info := range all {
			require.Equal(t, i+1, info.Attempt)
			require.Equal(t, i, info.Failures)
			require.Equal(t, 5, info.MaxAttempts)
			require.Equal(t, fanfare.High, info.Priority)
			require.Equal(t, all[0].ID, info.ID)
			require.NotEmpty(t, info.ID)
			require.Equal(t, t.Name(), info.Topic)
			require.Equal(t, "default", info.Group)
			require.Equal(t, map[string]string{"k": "v"}, info.Headers)
			require.WithinDuration(t, at[0], info.DispatchedAt, 5*time.Second)
			if i > 0 {
				require.GreaterOrEqual(t, at[i].Sub(at[i-1]), 60*time.Millisecond)
				require.Greater(t, info.Fence, all[i-1].Fence)
			}
		}
		eventually(t, func() bool { s := o.stats(d); return s.Handled == 1 && s.Retried == 2 && s.Dead == 0 }, "stats")
	})
}

func TestHandlerChoosesTheRetryTime(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, times := fanfare.NewTopic[int](t.Name()), newReceived[time.Time]()
		_, err := topic.Register(t.Context(), d, func(context.Context, int) error {
			switch times.add(time.Now()) {
			case 1:
				return fanfare.RetryIn(80*time.Millisecond, errors.New("later"))
			case 2:
				return fmt.Errorf("wrapped: %w", fanfare.RetryAt(time.Now().Add(80*time.Millisecond), nil))
			}
			return nil
		}, fanfare.Fixed(time.Hour))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		at := times.wait(t, 3)
		require.GreaterOrEqual(t, at[1].Sub(at[0]), 80*time.Millisecond)
		require.GreaterOrEqual(t, at[2].Sub(at[1]), 80*time.Millisecond)
	})
}

func TestGivenUpEvents(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		for name, tt := range map[string]struct {
			fail   func() error
			runs   int
			reason string
		}{
			"exhausted": {func() error { return errors.New("broken pipe") }, 3, fanfare.ReasonExhausted},
			"discarded": {func() error { return fanfare.Discard(errors.New("broken pipe")) }, 1, fanfare.ReasonDiscarded},
			"panic":     {func() error { panic(errors.New("broken pipe")) }, 3, fanfare.ReasonExhausted},
			"goexit":    {func() error { runtime.Goexit(); return nil }, 3, fanfare.ReasonExhausted},
		} {
			dead := newReceived[fanfare.Observation]()
			d := o.open(t, fanfare.WithObserver(fanfare.Observer{Dead: func(v fanfare.Observation) { dead.add(v) }}))
			topic, runs := fanfare.NewTopic[int](t.Name()+name), atomic.Int64{}
			_, err := topic.Register(t.Context(), d, func(context.Context, int) error { runs.Add(1); return tt.fail() },
				fanfare.NoBackoff(), fanfare.MaxAttempts(3))
			require.NoError(t, err)
			require.NoError(t, topic.Dispatch(t.Context(), d, 1, fanfare.ID("x")))
			got := dead.wait(t, 1)[0]
			require.Equal(t, tt.reason, got.Reason, name)
			require.Equal(t, "x", got.ID)
			require.EqualValues(t, tt.runs, runs.Load(), name)
			require.Equal(t, tt.runs, got.Attempt, name)
			if name != "goexit" {
				require.ErrorContains(t, got.Err, "broken pipe")
			} else {
				var p *fanfare.PanicError
				require.ErrorAs(t, got.Err, &p)
			}
			if o.durable {
				letters, err := d.(*fanfare.Durable).Queue(topic.Name(), "").Dead(t.Context(), 0, 10)
				require.NoError(t, err)
				require.Len(t, letters, 1)
				require.Equal(t, "x", letters[0].ID)
				require.Equal(t, tt.reason, letters[0].Reason)
				require.Equal(t, got.Err.Error(), letters[0].LastError)
			}
		}
	})
}

func TestEventsOwnLimitCountsMore(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, runs := fanfare.NewTopic[string](t.Name()), newReceived[string]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error { runs.add(v); return errors.New("no") },
			fanfare.NoBackoff(), fanfare.MaxAttempts(2))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, "once", fanfare.MaxAttempts(1)))
		require.NoError(t, topic.Dispatch(t.Context(), d, "thrice", fanfare.MaxAttempts(3)))
		require.NoError(t, topic.Dispatch(t.Context(), d, "twice"))
		eventually(t, func() bool { return o.stats(d).Dead == 3 }, "all given up")
		count := map[string]int{}
		for _, v := range runs.snapshot() {
			count[v]++
		}
		require.Equal(t, map[string]int{"once": 1, "twice": 2, "thrice": 3}, count)
	})
}

func TestPanicsAndGoexitsCostNoSlot(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, ok := fanfare.NewTopic[int](t.Name()), newReceived[int]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
			switch {
			case n < 4:
				panic(n)
			case n < 8:
				runtime.Goexit()
			}
			ok.add(n)
			return nil
		}, fanfare.Concurrency(2), fanfare.MaxAttempts(1))
		require.NoError(t, err)
		for n := range 20 {
			require.NoError(t, topic.Dispatch(t.Context(), d, n))
		}
		require.Len(t, ok.wait(t, 12), 12)
		eventually(t, func() bool { s := o.stats(d); return s.Dead == 8 && s.Running == 0 }, "failures counted")
	})
}

func TestHandlerTimeout(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, causes := fanfare.NewTopic[int](t.Name()), newReceived[error]()
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			if _, ok := ctx.Deadline(); !ok {
				return errors.New("no deadline")
			}
			<-ctx.Done()
			causes.add(context.Cause(ctx))
			return ctx.Err()
		}, fanfare.Timeout(50*time.Millisecond), fanfare.MaxAttempts(2), fanfare.NoBackoff())
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		for _, cause := range causes.wait(t, 2) {
			require.ErrorIs(t, cause, fanfare.ErrTimeout)
		}
		eventually(t, func() bool { return o.stats(d).Dead == 1 }, "given up")
	})
}

func TestConcurrencyIsBoundedAndUsed(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic := fanfare.NewTopic[int](t.Name())
		var running, most atomic.Int64
		release, handled := make(chan struct{}), newReceived[int]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
			now := running.Add(1)
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			<-release
			running.Add(-1)
			handled.add(n)
			return nil
		}, fanfare.Concurrency(3))
		require.NoError(t, err)
		for n := range 20 {
			require.NoError(t, topic.Dispatch(t.Context(), d, n))
		}
		eventually(t, func() bool { return running.Load() == 3 }, "three run")
		stays(t, 50*time.Millisecond, func() bool { return running.Load() == 3 }, "three run")
		close(release)
		handled.wait(t, 20)
		require.EqualValues(t, 3, most.Load())
	})
}

func TestDelayedEventsAreOnTimeAndNeverEarly(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, got := fanfare.NewTopic[time.Time](t.Name()), newReceived[time.Duration]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, due time.Time) error {
			got.add(time.Since(due))
			return nil
		})
		require.NoError(t, err)
		for i := range 10 {
			delay := time.Duration(i) * 20 * time.Millisecond
			due := time.Now().Add(delay).Round(0)
			opt := fanfare.Delay(delay)
			if i%2 == 1 {
				opt = fanfare.At(due)
			}
			require.NoError(t, topic.Dispatch(t.Context(), d, due, opt))
		}
		for _, late := range got.wait(t, 10) {
			require.GreaterOrEqual(t, late, time.Duration(0))
			require.Less(t, late, time.Second)
		}
	})
}

type delayedEvent struct{ Wait time.Duration }

func (e delayedEvent) Delayed() time.Duration { return e.Wait }

func TestDelayedEventInterface(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, got := fanfare.NewTopic[delayedEvent](t.Name()), newReceived[time.Time]()
		_, err := topic.Register(t.Context(), d, func(context.Context, delayedEvent) error { got.add(time.Now()); return nil })
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, topic.Dispatch(t.Context(), d, delayedEvent{100 * time.Millisecond}))
		require.GreaterOrEqual(t, got.wait(t, 1)[0].Sub(begin), 100*time.Millisecond)
		require.NoError(t, topic.Dispatch(t.Context(), d, delayedEvent{time.Hour}, fanfare.Delay(0)))
		got.wait(t, 2)
	})
}

func TestHigherPriorityFirstAndNoneStarved(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, got := fanfare.NewTopic[string](t.Name()), newReceived[string]()
		gate := make(chan struct{})
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error {
			if v == "gate" {
				<-gate
				return nil
			}
			got.add(v)
			return nil
		}, fanfare.Concurrency(1))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, "gate"))
		eventually(t, func() bool { return o.stats(d).Running == 1 }, "gate runs")
		for range 30 {
			for name, p := range map[string]fanfare.Priority{"low": fanfare.Low, "normal": fanfare.Normal, "high": fanfare.High} {
				require.NoError(t, topic.Dispatch(t.Context(), d, name, p))
			}
		}
		close(gate)
		count := map[string]int{}
		for _, v := range got.wait(t, 90)[:30] {
			count[v]++
		}
		require.InDelta(t, 18, count["high"], 2, count)
		require.InDelta(t, 9, count["normal"], 2, count)
		require.InDelta(t, 3, count["low"], 2, count)
	})
}

func TestFirstInFirstOutWithinOnePriority(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, got := fanfare.NewTopic[int](t.Name()), newReceived[int]()
		for n := range 3 { // due before the rest is dispatched
			require.NoError(t, dispatchUnhandled(t, o, d, topic, n))
		}
		_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.add(n); return nil }, fanfare.Concurrency(1))
		require.NoError(t, err)
		for n := 3; n < 50; n++ {
			require.NoError(t, topic.Dispatch(t.Context(), d, n, fanfare.Delay(time.Duration(n)*2*time.Millisecond)))
		}
		first := 0
		if !o.durable {
			first = 3
		}
		for i, n := range got.wait(t, 50-first) {
			require.Equal(t, first+i, n)
		}
	})
}

// dispatchUnhandled dispatches to a topic without a handler, which in process
// is refused and elsewhere kept.
func dispatchUnhandled(t *testing.T, o opener, d fanfare.Dispatcher, topic fanfare.Topic[int], n int) error {
	err := topic.Dispatch(t.Context(), d, n, fanfare.ID(fmt.Sprint(n)))
	if !o.durable {
		require.ErrorIs(t, err, fanfare.ErrNoHandlerFound)
		return nil
	}
	return err
}
