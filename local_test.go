package fanfare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// An event of each of these shapes is dispatched without an allocation.
type shape struct {
	ID    int64
	Email string
	Tags  []string
}

func TestTypedDispatchAllocatesNothing(t *testing.T) {
	t.Run("struct", func(t *testing.T) { allocatesNothing(t, shape{1, "ann@example.org", []string{"a"}}) })
	t.Run("pointer", func(t *testing.T) { allocatesNothing(t, &shape{}) })
	t.Run("slice", func(t *testing.T) { allocatesNothing(t, []byte("abc")) })
	t.Run("map", func(t *testing.T) { allocatesNothing(t, map[string]int{}) })
	t.Run("int", func(t *testing.T) { allocatesNothing(t, 1<<30) })
	t.Run("string", func(t *testing.T) { allocatesNothing(t, "abc") })
}

func allocatesNothing[T any](t *testing.T, event T) {
	const events = 1000
	l, topic, handled, turn := open(t), NewTopic[T]("shapes"), atomic.Int64{}, make(chan struct{})
	r, err := topic.Register(t.Context(), l, func(context.Context, T) error {
		if handled.Add(1)%events == 0 {
			turn <- struct{}{}
		}
		return nil
	}, Concurrency(1))
	require.NoError(t, err)
	ctx := t.Context()
	round := func() {
		for range events {
			if err := topic.Dispatch(ctx, l, event); err != nil {
				t.Fatal(err)
			}
		}
	}
	allocs := testing.AllocsPerRun(5, func() { round(); <-turn })
	// A slab of contexts serves runLength events. The queue may grow besides.
	require.LessOrEqual(t, allocs, float64(events/runLength+15), "allocations for %d events", events)
	require.NoError(t, l.Remove(ctx, r))

	gate := make(chan struct{})
	_, err = topic.Register(ctx, l, func(context.Context, T) error { <-gate; return nil }, Concurrency(1))
	require.NoError(t, err)
	round() // the queue grows
	for range events - 1 {
		gate <- struct{}{}
	}
	require.Zero(t, testing.AllocsPerRun(1, func() {
		for range events / 4 {
			if err := topic.Dispatch(ctx, l, event); err != nil {
				t.Fatal(err)
			}
		}
	}), "allocations of Dispatch alone")
	close(gate)
	require.NoError(t, l.Stop(ctx))
}

func TestQueueBoundIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 100
		l, release := open(t, WithMaxQueued(bound)), make(chan struct{})
		listen(t, l, func(context.Context, int) error { <-release; return nil })
		listen(t, l, func(context.Context, int) error { return nil }, Concurrency(2))
		accept := func() int64 {
			var accepted atomic.Int64
			var all sync.WaitGroup
			for p := range 8 {
				all.Go(func() {
					for n := range bound {
						var opts []EventOption
						if p%2 == 0 {
							opts = append(opts, Delay(time.Duration(n%2)*time.Hour), ID(NewID()))
						}
						err := integers.Dispatch(t.Context(), l, n, opts...)
						if err == nil {
							accepted.Add(1)
						} else if !errors.Is(err, ErrMaxQueuedEventsReached) {
							t.Error(err)
						}
						if q := l.Stats().Queued; q > bound {
							t.Errorf("%d events queued", q)
						}
					}
				})
			}
			all.Wait()
			synctest.Wait()
			return accepted.Load()
		}
		require.EqualValues(t, bound, accept())
		for k := range 20 {
			for range k {
				release <- struct{}{}
			}
			synctest.Wait()
			require.Equal(t, bound-k, l.Stats().Queued)
			require.EqualValues(t, k, accept(), "accepted with room for %d", k)
		}
		close(release)
	})
}

func TestHandlerMayDispatchToItsOwnFullTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const depth = 10_000
		l, refused, last := open(t, WithMaxQueued(2), WithParallelThreshold(1)), 0, 0
		listen(t, l, func(ctx context.Context, n int) error {
			last = n
			if n == depth {
				return nil
			}
			if err := integers.Dispatch(ctx, l, n+1); err != nil {
				return err
			}
			for range 3 { // full now
				if err := integers.Dispatch(ctx, l, -1, ID("x")); !errors.Is(err, ErrMaxQueuedEventsReached) {
					return fmt.Errorf("got %v", err)
				}
				refused++
			}
			return nil
		}, MaxAttempts(1))
		dispatch(t, l, 1)
		synctest.Wait()
		require.Equal(t, depth, last)
		require.Equal(t, 3*(depth-1), refused)
		require.Zero(t, l.Stats().Dead)
	})
}

func TestDispatchErrorsOfLocal(t *testing.T) {
	l := open(t)
	listen(t, l, func(context.Context, int) error { return nil })
	var none context.Context
	require.ErrorIs(t, l.Dispatch(t.Context(), "unknown", 1), ErrNoHandlerFound)
	require.ErrorIs(t, l.Dispatch(t.Context(), "", 1), ErrNoTopicSpecified)
	require.ErrorIs(t, l.Dispatch(t.Context(), "\xff", 1), ErrInvalid)
	require.ErrorIs(t, l.Dispatch(t.Context(), integers.Name(), nil), ErrNoEventSpecified)
	require.ErrorIs(t, l.Dispatch(t.Context(), integers.Name(), "1"), ErrTopicType)
	require.ErrorIs(t, NewTopic[int64](integers.Name()).Dispatch(t.Context(), l, 1), ErrTopicType)
	require.ErrorIs(t, l.Dispatch(none, integers.Name(), 1), ErrInvalid)
	require.ErrorIs(t, integers.Dispatch(none, l, 1), ErrInvalid)
	require.ErrorIs(t, l.Remove(none, nil), ErrInvalid)
	require.ErrorIs(t, l.Stop(none), ErrInvalid)
	_, err := l.Cancel(none, "a", "b")
	require.ErrorIs(t, err, ErrInvalid)
	_, err = l.Cancel(t.Context(), "a", "")
	require.ErrorIs(t, err, ErrInvalid)

	pointers := NewTopic[*int]("pointers")
	_, err = pointers.Register(t.Context(), l, func(context.Context, *int) error { return nil })
	require.NoError(t, err)
	require.ErrorIs(t, pointers.Dispatch(t.Context(), l, nil), ErrNoEventSpecified)
	slices := NewTopic[[]int]("slices")
	_, err = slices.Register(t.Context(), l, func(context.Context, []int) error { return nil })
	require.NoError(t, err)
	require.ErrorIs(t, slices.Dispatch(t.Context(), l, nil), ErrNoEventSpecified)
	s := l.Stats()
	require.EqualValues(t, 8, s.Rejected)
	require.Zero(t, s.Dispatched)
	require.Zero(t, s.Queued, "what is refused holds no unit")
}

// waiting is a DelayedEvent.
type waiting time.Duration

func (w waiting) Delayed() time.Duration { return time.Duration(w) }

func TestTopicOfAnInterfaceHonoursDelayAndOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, begin, got := open(t), time.Now(), list[string]{}
		topic := NewTopic[any]("anything")
		_, err := topic.Register(t.Context(), l, func(ctx context.Context, v any) error {
			d, _ := DeliveryFrom(ctx)
			got.add(fmt.Sprintf("%T after %v %s", v, time.Since(begin), d.Headers["k"]))
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), l, waiting(time.Second)))
		require.NoError(t, topic.Dispatch(t.Context(), l, With(7, Delay(time.Minute), Header("k", "v"))))
		pass(time.Hour)
		require.Equal(t, []string{"fanfare.waiting after 1s ", "int after 1m0s v"}, got.get())
	})
}

func TestEveryPanicIsAFailure(t *testing.T) {
	var nothing *shape
	for name, tt := range map[string]struct {
		fail func()
		is   error
	}{
		"value":   {fail: func() { panic("value") }},
		"nil":     {fail: func() { panic(nil) }}, //nolint:govet // the mistake under test
		"error":   {fail: func() { panic(io.EOF) }, is: io.EOF},
		"runtime": {fail: func() { nothing.ID++ }},
		"again": {fail: func() {
			defer func() { panic(fmt.Errorf("%v: %w", recover(), io.EOF)) }()
			panic("first")
		}, is: io.EOF},
		"goexit":          {fail: runtime.Goexit},
		"goexit in defer": {fail: func() { defer runtime.Goexit(); panic("first") }},
	} {
		t.Run(name, func(t *testing.T) {
			dropped := make(chan Dropped, 1)
			l := open(t, WithOnDrop(func(d Dropped) { dropped <- d }), WithParallelThreshold(1))
			listen(t, l, func(context.Context, int) error { tt.fail(); return nil }, MaxAttempts(2), NoBackoff())
			dispatch(t, l, 1)
			d := <-dropped
			require.Equal(t, ReasonExhausted, d.Reason)
			var p *PanicError
			require.ErrorAs(t, d.Err, &p)
			require.NotEmpty(t, p.Stack)
			if tt.is != nil {
				require.ErrorIs(t, d.Err, tt.is)
			}
			require.NoError(t, l.Stop(t.Context()))
			s := l.Stats()
			require.Equal(t, []uint64{2, 1, 1, 0}, []uint64{s.Started, s.Retried, s.Dead, s.Handled})
			require.Zero(t, s.Running)
		})
	}
}

func TestCallbackThatEndsItsGoroutineCostsNoSlot(t *testing.T) {
	l := open(t, WithOnDrop(func(Dropped) { runtime.Goexit() }), WithParallelThreshold(1))
	last := 0
	listen(t, l, func(context.Context, int) error { return io.EOF }, MaxAttempts(1))
	listen(t, l, func(_ context.Context, n int) error { last = n; return nil })
	for n := range 10 {
		dispatch(t, l, n)
	}
	require.NoError(t, l.Stop(t.Context()))
	require.Equal(t, 9, last)
}

func TestLocalLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for n := range 1000 {
		ctx, end := context.WithCancel(t.Context())
		l, err := NewLocal(WithContext(ctx, time.Second))
		require.NoError(t, err)
		listen(t, l, func(context.Context, int) error { return nil })
		r := listen(t, l, func(context.Context, int) error { return nil }, Concurrency(2))
		for k := range 5 {
			dispatch(t, l, k)
			dispatch(t, l, k, Delay(time.Duration(k)*time.Hour), ID(fmt.Sprint(k)))
		}
		if n%2 == 0 {
			require.NoError(t, l.Remove(t.Context(), r))
		}
		var left *StopError
		require.ErrorAs(t, l.Stop(t.Context()), &left)
		require.Equal(t, 4, left.Dropped)
		end()
	}
	goleak.VerifyNone(t, before)
}

func TestUnstoppedDispatcherKeepsNoGoroutineWhenIdle(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := NewLocal(WithIdleTimeout(time.Millisecond))
	require.NoError(t, err)
	listen(t, l, func(context.Context, int) error { return nil })
	for n := range 100 {
		dispatch(t, l, n)
	}
	goleak.VerifyNone(t, before)
}

// storm is what TestEverythingAtOnce does to a dispatcher, and counts.
type storm struct {
	l                          *Local
	until                      time.Time
	accepted, handled, dropped atomic.Int64
	merged                     atomic.Int64 // accepted, perhaps into another event
}

func TestEverythingAtOnce(t *testing.T) {
	s := storm{until: time.Now().Add(300 * time.Millisecond)}
	s.l = open(t, WithMaxQueued(500), WithMaxRetry(Unlimited), WithOnDrop(func(d Dropped) {
		if d.Reason != ReasonStopped {
			t.Errorf("dropped because %s", d.Reason)
		}
		s.dropped.Add(1)
	}))
	listen(t, s.l, func(ctx context.Context, n int) error {
		if d, _ := DeliveryFrom(ctx); n%5 == 0 && d.Attempt < 3 {
			return RetryIn(time.Duration(n%100)*time.Microsecond, io.EOF)
		}
		s.handled.Add(1)
		return nil
	})
	var all sync.WaitGroup
	for p := range 4 {
		all.Go(func() { s.dispatch(t, p) })
	}
	for p := range 3 {
		all.Go(func() { s.register(t, p) })
	}
	all.Go(func() {
		<-time.After(200 * time.Millisecond)
		if err := s.l.Stop(t.Context()); err != nil && !errors.As(err, new(*StopError)) {
			t.Error(err)
		}
	})
	all.Wait()
	require.Zero(t, s.l.Stats().Queued)
	require.Zero(t, s.l.Stats().Running)
	total := s.handled.Load() + s.dropped.Load()
	require.GreaterOrEqual(t, total, s.accepted.Load(), "events were lost")
	require.LessOrEqual(t, total, s.accepted.Load()+s.merged.Load(), "events were handled twice")
	require.NotZero(t, s.accepted.Load())
}

// dispatch dispatches events of all sorts until the dispatcher is stopped.
func (s *storm) dispatch(t *testing.T, p int) {
	for n := 0; time.Now().Before(s.until); n++ {
		var opts []EventOption
		conflict := Conflict(n / 4 % 4)
		switch n % 4 {
		case 1:
			opts = append(opts, Delay(time.Duration(n%100)*time.Microsecond))
		case 2:
			opts = append(opts, ID(fmt.Sprint(p, n/8)), conflict)
		case 3:
			opts = append(opts, Priority(n/4%3-1))
		}
		err := integers.Dispatch(t.Context(), s.l, n, opts...)
		switch {
		case errors.Is(err, ErrMaxQueuedEventsReached), errors.Is(err, ErrDuplicate), errors.Is(err, ErrStopped):
		case err != nil:
			t.Error(err)
		case n%4 == 2 && conflict != KeepFirst:
			s.merged.Add(1)
		default:
			s.accepted.Add(1)
		}
	}
}

// register registers and removes handlers of one kind until the dispatcher is stopped.
func (s *storm) register(t *testing.T, kind int) {
	opts := [][]HandlerOption{nil, {Concurrency(2)}, {Synchronous()}}[kind]
	for time.Now().Before(s.until) {
		r, err := integers.Register(t.Context(), s.l, func(context.Context, int) error { return nil }, opts...)
		if errors.Is(err, ErrStopped) {
			return
		}
		if err == nil {
			err = s.l.Remove(t.Context(), r)
		}
		if err != nil {
			t.Error(err)
		}
		if n := s.l.Stats().Queued; n > 500 {
			t.Errorf("%d events queued", n)
		}
	}
}
