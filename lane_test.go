package fanfare

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var integers = NewTopic[int]("integers")

// open returns a dispatcher that is stopped with the test.
func open(t *testing.T, opts ...Option) *Local {
	t.Helper()
	l, err := NewLocal(opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = l.Stop(ctx)
	})
	return l
}

// listen registers a handler of integers.
func listen(t *testing.T, l *Local, handle func(ctx context.Context, n int) error, opts ...HandlerOption) *Registration {
	t.Helper()
	r, err := integers.Register(t.Context(), l, handle, opts...)
	require.NoError(t, err)
	return r
}

// dispatch dispatches integers that must be accepted.
func dispatch(t *testing.T, l *Local, n int, opts ...EventOption) {
	t.Helper()
	require.NoError(t, integers.Dispatch(t.Context(), l, n, opts...))
}

// pass lets fake time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// ended returns a context that has ended.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// pool returns how many goroutines the first lane of integers has.
func pool(l *Local) int {
	q := l.topic(integers.Name()).routes.Load().lanes[0].(*lane[int])
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.workers)
}

// list collects what handlers saw.
type list[T any] struct {
	mu  sync.Mutex
	all []T
}

func (l *list[T]) add(v T) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, v)
	return len(l.all)
}

func (l *list[T]) get() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func TestPoolGrowsToItsLimitAndShrinksWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, release, handled := open(t, WithParallelThreshold(5), WithIdleTimeout(time.Second)), make(chan struct{}), 0
		var mu sync.Mutex
		listen(t, l, func(context.Context, int) error {
			<-release
			mu.Lock()
			defer mu.Unlock()
			handled++
			return nil
		})
		require.Zero(t, pool(l), "before there is anything to do")
		for n := range 20 {
			dispatch(t, l, n)
			synctest.Wait()
			require.Equal(t, min(n+1, 5), pool(l), "with %d events", n+1)
			require.Equal(t, min(n+1, 5), l.Stats().Running)
		}
		close(release)
		synctest.Wait()
		require.Equal(t, 20, handled)
		require.Equal(t, 5, pool(l), "kept for a while")

		pass(time.Second - 1)
		require.Equal(t, 5, pool(l), "just before the idle timeout")
		dispatch(t, l, 20)
		pass(1)
		synctest.Wait()
		require.Equal(t, 1, pool(l), "the one that had work stays")
		pass(time.Second)
		synctest.Wait()
		require.Zero(t, pool(l))
		dispatch(t, l, 21)
		synctest.Wait()
		require.Equal(t, 22, handled, "it grows again")
	})
}

func TestFastHandlersNeedFewGoroutines(t *testing.T) {
	l := open(t, WithParallelThreshold(maxConcurrency))
	listen(t, l, func(context.Context, int) error { return nil })
	most := 0
	for n := range 50_000 {
		dispatch(t, l, n)
		if n%100 == 0 {
			most = max(most, pool(l))
		}
	}
	require.NoError(t, l.Stop(t.Context()))
	require.LessOrEqual(t, most, 1000, "goroutines for 50,000 events")
}

// The handler of each event waits until the next one was handled: none may wait
// in the queue while there is room in the pool.
func TestNoEventWaitsBehindARunningHandler(t *testing.T) {
	for range 200 {
		l, second := open(t, WithParallelThreshold(2)), make(chan struct{})
		listen(t, l, func(_ context.Context, n int) error {
			if n == 1 {
				<-second
				return nil
			}
			close(second)
			return nil
		})
		dispatch(t, l, 1)
		dispatch(t, l, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		require.NoError(t, l.Stop(ctx))
		cancel()
	}
}

func TestEachBlockedHandlerLeavesTheRestOfThePool(t *testing.T) {
	const limit = 50
	l, all := open(t, WithParallelThreshold(limit)), sync.WaitGroup{}
	all.Add(limit)
	listen(t, l, func(context.Context, int) error {
		all.Done()
		all.Wait() // until as many run as the limit allows
		return nil
	})
	for n := range limit {
		dispatch(t, l, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, l.Stop(ctx))
}

func TestPoolNeverExceedsItsLimit(t *testing.T) {
	const limit = 3
	l, running, most := open(t, WithParallelThreshold(limit)), atomic.Int64{}, atomic.Int64{}
	listen(t, l, func(_ context.Context, n int) error {
		now := running.Add(1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		runtime.Gosched()
		running.Add(-1)
		if n%7 == 0 {
			runtime.Goexit()
		}
		return nil
	}, MaxAttempts(1))
	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			for n := range 2000 {
				dispatch(t, l, n)
			}
		})
	}
	producers.Wait()
	require.NoError(t, l.Stop(t.Context()))
	require.EqualValues(t, limit, most.Load())
}

func TestSlowTopicDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, fast := open(t, WithParallelThreshold(1)), NewTopic[time.Time]("fast")
		listen(t, l, func(ctx context.Context, _ int) error { <-ctx.Done(); return nil })
		late := list[time.Duration]{}
		_, err := fast.Register(t.Context(), l, func(_ context.Context, at time.Time) error {
			late.add(time.Since(at))
			return nil
		})
		require.NoError(t, err)
		for n := range 100 {
			dispatch(t, l, n)
			require.NoError(t, fast.Dispatch(t.Context(), l, time.Now()))
			require.NoError(t, fast.Dispatch(t.Context(), l, time.Now().Add(time.Minute), Delay(time.Minute)))
		}
		pass(time.Minute)
		synctest.Wait()
		require.Len(t, late.get(), 200)
		for _, d := range late.get() {
			require.Zero(t, d)
		}
		require.Equal(t, 1, l.Stats().Running)
		require.Error(t, l.Stop(ended(t)))
	})
}

func TestHandlerWithItsOwnConcurrencyDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, shared, own := open(t, WithParallelThreshold(1)), 0, 0
		release := make(chan struct{})
		listen(t, l, func(context.Context, int) error { own++; <-release; return nil }, Concurrency(1))
		listen(t, l, func(context.Context, int) error { shared++; return nil })
		for n := range 10 {
			dispatch(t, l, n)
		}
		synctest.Wait()
		require.Equal(t, []int{1, 10}, []int{own, shared})
		require.Equal(t, 10, l.Stats().Queued, "an event counts until its last handler is done")
		close(release)
		synctest.Wait()
		require.Equal(t, 10, own)
		require.Zero(t, l.Stats().Queued)
		require.EqualValues(t, 10, l.Stats().Dispatched)
		require.EqualValues(t, 20, l.Stats().Handled)
	})
}

func TestGoexitCostsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		l, release, last := open(t, WithParallelThreshold(limit)), make(chan struct{}), list[int]{}
		listen(t, l, func(_ context.Context, n int) error {
			if n < 2*limit {
				runtime.Goexit()
			}
			<-release
			return nil
		}, MaxAttempts(1))
		listen(t, l, func(_ context.Context, n int) error { last.add(n); return nil })
		for n := range 3 * limit {
			dispatch(t, l, n)
		}
		synctest.Wait()
		require.Equal(t, limit, l.Stats().Running)
		require.Equal(t, limit, pool(l))
		require.EqualValues(t, 2*limit, l.Stats().Dead)
		require.Len(t, last.get(), 2*limit, "the event goes on to the other handlers")
		close(release)
		synctest.Wait()
		require.Len(t, last.get(), 3*limit)
		require.Zero(t, l.Stats().Queued)
	})
}

// Of what a worker has done, several dispatches at once may find the units.
func TestNoDispatchIsRefusedWhileAnotherGivesUnitsBack(t *testing.T) {
	const bound, dispatches = 40, 20
	for range 2000 {
		l, last, release := open(t, WithMaxQueued(bound), WithParallelThreshold(1)), make(chan struct{}), make(chan struct{})
		listen(t, l, func(_ context.Context, n int) error {
			if n == bound {
				close(last)
				<-release
			}
			return nil
		})
		for n := range bound {
			dispatch(t, l, n+1)
		}
		<-last // those before it have ended
		var all sync.WaitGroup
		for range dispatches {
			all.Go(func() {
				if err := integers.Dispatch(t.Context(), l, 0); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		close(release)
		require.NoError(t, l.Stop(t.Context()))
	}
}
