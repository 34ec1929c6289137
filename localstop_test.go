package fanfare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStopFinishesWhatIsDueAndReportsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped, handled := list[Dropped]{}, list[int]{}
		l := open(t, WithOnDrop(func(d Dropped) { dropped.add(d) }), WithBackoff(Fixed(time.Hour)))
		handle := func(_ context.Context, n int) error {
			<-time.After(time.Second)
			if n == 50 {
				return io.EOF
			}
			handled.add(n)
			return nil
		}
		listen(t, l, handle, Concurrency(3), Group("billing"))
		listen(t, l, func(context.Context, int) error { return nil })
		dispatch(t, l, 50, ID("fails"))
		pass(2 * time.Second)
		begin := time.Now()
		for n := range 30 {
			dispatch(t, l, n)
		}
		dispatch(t, l, 30, Delay(5*time.Second), ID("due")) // while Stop waits
		dispatch(t, l, 31, Delay(time.Hour), ID("later"))
		err := l.Stop(t.Context())
		require.Equal(t, &StopError{Dropped: 3}, err)
		require.Equal(t, 10*time.Second, time.Since(begin), "30 events in threes")
		require.Len(t, handled.get(), 30)

		all := dropped.get()
		slices.SortFunc(all, func(a, b Dropped) int { return a.DueAt.Compare(b.DueAt) })
		want := []Dropped{
			{Topic: "integers", ID: "due", Event: 30, DueAt: begin.Add(5 * time.Second), Reason: ReasonStopped},
			{Topic: "integers", Group: "billing", ID: "fails", Event: 50, DueAt: begin.Add(time.Hour - time.Second), Reason: ReasonStopped, Err: io.EOF},
			{Topic: "integers", ID: "later", Event: 31, DueAt: begin.Add(time.Hour), Reason: ReasonStopped},
		}
		require.Len(t, all, len(want))
		for i := range want {
			require.True(t, want[i].DueAt.Equal(all[i].DueAt), all[i])
			want[i].DueAt = all[i].DueAt
			require.Equal(t, want[i], all[i])
		}
		s := l.Stats()
		require.Equal(t, Stats{Dispatched: 33, Started: 62, Handled: 61, Retried: 1, Dropped: 3}, s)
		require.Equal(t, err, l.Stop(ended(t)), "again, and its context does not matter")
		require.ErrorIs(t, l.Dispatch(t.Context(), "integers", 1), ErrStopped)
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 1), ErrStopped)
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 1, ID("x"), Delay(1)), ErrStopped)
		_, err = integers.Register(t.Context(), l, handle)
		require.ErrorIs(t, err, ErrStopped)
	})
}

func TestStopHandlesWhatIsDueAndHasNotFired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, handled := open(t), 0
		listen(t, l, func(context.Context, int) error { handled++; return nil })
		l.timers.running = true // the goroutine never gets its turn
		dispatch(t, l, 1, Delay(time.Second))
		pass(time.Second)
		require.NoError(t, l.Stop(t.Context()))
		require.Equal(t, 1, handled)
	})
}

func TestStopWithNothingLeftBehind(t *testing.T) {
	require.NoError(t, open(t).Stop(t.Context()), "before anything was registered")
	require.NoError(t, open(t).Stop(ended(t)), "with a context that has ended")
	l := open(t)
	handled := 0
	listen(t, l, func(context.Context, int) error { handled++; return nil }, Concurrency(1))
	for n := range 10_000 {
		dispatch(t, l, n)
	}
	require.NoError(t, l.Stop(t.Context()))
	require.Equal(t, 10_000, handled)
}

func TestStopReturnsAfterItsGoroutines(t *testing.T) {
	for range 300 {
		l := open(t)
		listen(t, l, func(context.Context, int) error { runtime.Gosched(); return nil })
		for n := range 20 {
			dispatch(t, l, n)
		}
		require.NoError(t, l.Stop(t.Context()))
		require.Zero(t, pool(l))
	}
}

func TestStopDropsWhatFailsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped := list[Dropped]{}
		l := open(t, WithOnDrop(func(d Dropped) { dropped.add(d) }), WithBackoff(NoBackoff()), WithMaxRetry(Unlimited))
		runs := 0
		listen(t, l, func(context.Context, int) error { runs++; <-time.After(time.Minute); return io.EOF })
		dispatch(t, l, 1)
		synctest.Wait()
		require.Equal(t, &StopError{Dropped: 1}, l.Stop(t.Context()))
		require.Equal(t, 1, runs)
		require.Len(t, dropped.get(), 1)
		require.Equal(t, io.EOF, dropped.get()[0].Err)
	})
}

func TestStopThatGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped, causes, release := list[Dropped]{}, list[error]{}, make(chan struct{})
		l := open(t, WithOnDrop(func(d Dropped) { dropped.add(d) }), WithParallelThreshold(3))
		listen(t, l, func(ctx context.Context, n int) error {
			derived, cancel := context.WithCancel(context.WithValue(ctx, io.EOF, 1))
			defer cancel()
			select {
			case <-derived.Done():
				causes.add(context.Cause(derived))
				causes.add(context.Cause(ctx))
				if !errors.Is(ctx.Err(), context.Canceled) {
					t.Error(ctx.Err())
				}
			case <-release:
			}
			if n == 0 {
				<-release // ignores its context
			}
			return nil
		}, Timeout(time.Hour))
		second := atomic.Int64{}
		listen(t, l, func(context.Context, int) error { second.Add(1); return nil })
		for n := range 5 {
			dispatch(t, l, n)
		}
		dispatch(t, l, 5, ID("x"), High)
		dispatch(t, l, 6, ID("y"), Delay(time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := l.Stop(ctx)
		require.Equal(t, time.Second+returnGrace, time.Since(begin))
		// The events of those that returned were kept from their second handler.
		require.Equal(t, &StopError{Running: 1, Dropped: 4 + 2, Err: context.DeadlineExceeded}, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, cause := range causes.get() {
			require.Equal(t, ErrStopped, cause)
		}
		require.Len(t, causes.get(), 2*3)
		require.Zero(t, second.Load(), "no handler starts any more")
		require.Len(t, dropped.get(), 4+2)

		again := make(chan error)
		go func() { again <- l.Stop(context.Background()) }()
		synctest.Wait()
		close(release)
		require.Equal(t, &StopError{Dropped: 4 + 3}, <-again, "a later Stop waits for the end")
		require.Zero(t, l.Stats().Queued)
	})
}

func TestStopsWaitForTheSameEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, release, errs := open(t), make(chan struct{}), list[error]{}
		listen(t, l, func(context.Context, int) error { <-release; return nil })
		dispatch(t, l, 1)
		dispatch(t, l, 2, Delay(time.Hour))
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { errs.add(l.Stop(context.Background())) })
		}
		synctest.Wait()
		require.Empty(t, errs.get())
		close(release)
		all.Wait()
		require.Len(t, errs.get(), 5)
		for _, err := range errs.get() {
			require.Equal(t, &StopError{Dropped: 1}, err)
		}
	})
}

func TestStopInsideAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, result := open(t), make(chan error, 2)
		stop := func(ctx context.Context, _ int) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			result <- l.Stop(ctx)
			return nil
		}
		listen(t, l, stop)
		dispatch(t, l, 1)
		require.Equal(t, &StopError{Running: 1, Err: context.DeadlineExceeded}, <-result)
		require.NoError(t, l.Stop(t.Context()))
	})
}

func TestStopWaitsForSynchronousHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, release, result := open(t), make(chan struct{}), make(chan error, 1)
		listen(t, l, func(context.Context, int) error { <-release; return nil }, Synchronous())
		handled := 0
		listen(t, l, func(context.Context, int) error { handled++; return nil })
		go func() { result <- integers.Dispatch(context.Background(), l, 1) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stopped := make(chan error)
		go func() { stopped <- l.Stop(context.Background()) }()
		synctest.Wait()
		close(release)
		require.NoError(t, <-stopped)
		require.NoError(t, <-result)
		require.Equal(t, 1, handled, "what was being dispatched is handled")
		require.NoError(t, l.Stop(ctx))
	})
}

func TestAcceptedEventsAreHandledOrReported(t *testing.T) {
	for round := range 100 {
		var accepted, handled, dropped atomic.Int64
		l := open(t, WithOnDrop(func(Dropped) { dropped.Add(1) }), WithMaxQueued(1<<30))
		listen(t, l, func(context.Context, int) error { handled.Add(1); return nil })
		if round%2 == 0 {
			listen(t, l, func(context.Context, int) error { return nil }, Concurrency(1))
		}
		var all sync.WaitGroup
		for p := range 4 {
			all.Go(func() {
				for n := range 200 {
					var opts []EventOption
					if p%2 == 1 {
						opts = append(opts, Delay(time.Duration(n%50)*time.Microsecond), ID(fmt.Sprint(p, n)))
					}
					err := integers.Dispatch(t.Context(), l, n, opts...)
					switch {
					case err == nil:
						accepted.Add(1)
					case !errors.Is(err, ErrStopped):
						t.Error(err)
					}
				}
			})
		}
		all.Go(func() {
			for l.Stats().Dispatched < uint64(10*(round%20)) {
			}
			err := l.Stop(t.Context())
			if left := new(StopError); errors.As(err, &left) && left.Dropped > int(dropped.Load()) {
				t.Errorf("%v with %d calls of onDrop", err, dropped.Load())
			}
		})
		all.Wait()
		require.NoError(t, errors.Unwrap(l.Stop(t.Context())))
		require.Equal(t, accepted.Load(), handled.Load()+dropped.Load())
		s := l.Stats()
		require.EqualValues(t, accepted.Load(), s.Dispatched)
		require.EqualValues(t, dropped.Load(), s.Dropped)
	}
}

func TestContextBoundDispatcher(t *testing.T) {
	type key struct{}
	for name, tt := range map[string]struct {
		grace, works time.Duration
		cause        error
	}{
		"in time":       {time.Minute, time.Second, nil},
		"too late":      {time.Second, time.Minute, ErrStopped},
		"without grace": {0, time.Minute, ErrStopped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
				l, cause, began := open(t, WithContext(ctx, tt.grace)), make(chan error, 1), time.Now()
				listen(t, l, func(ctx context.Context, _ int) error {
					if ctx.Value(key{}) != "value" {
						t.Error("the values of the context are lost")
					}
					select {
					case <-time.After(tt.works):
					case <-ctx.Done():
					}
					cause <- context.Cause(ctx)
					return nil
				})
				dispatch(t, l, 1)
				synctest.Wait()
				end()
				synctest.Wait()
				require.ErrorIs(t, integers.Dispatch(t.Context(), l, 1), ErrStopped)
				require.Equal(t, tt.cause, <-cause)
				require.Equal(t, min(tt.works, tt.grace), time.Since(began))
				require.NoError(t, l.Stop(t.Context()))
			})
		})
	}
}

func TestStopReleasesTheContext(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	logged := list[string]{}
	l := open(t, WithContext(ctx, 0), WithLogger(noting(&logged)))
	require.NoError(t, l.Stop(t.Context()))
	require.False(t, l.unbind(), "still bound")
	end()
	require.Empty(t, logged.get())
}

func TestOnDropMayRemoveAHandlerThatHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l *Local
		var r *Registration
		removed := false
		l = open(t, WithOnDrop(func(Dropped) {
			removed = l.Remove(t.Context(), r) == nil
		}))
		r = listen(t, l, func(ctx context.Context, _ int) error { <-ctx.Done(); return nil })
		listen(t, l, func(context.Context, int) error { return nil })
		dispatch(t, l, 1)
		synctest.Wait()
		require.Error(t, l.Stop(ended(t)))
		require.True(t, removed)
	})
}
