package fanfare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// recorder notes which event ran when.
type recorder struct {
	begin time.Time
	list[string]
}

func (r *recorder) note(n int) int { return r.add(fmt.Sprint(n, " ", time.Since(r.begin))) }

// cancel is Cancel without its error.
func cancel(t *testing.T, l *Local, id string) bool {
	t.Helper()
	ok, err := l.Cancel(t.Context(), integers.Name(), id)
	require.NoError(t, err)
	return ok
}

func TestIDIsKnownForTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran := open(t, WithDedupWindow(time.Minute), WithBackoff(Fixed(time.Second))), &recorder{begin: time.Now()}
		listen(t, l, func(ctx context.Context, n int) error {
			ran.note(n)
			if d, _ := DeliveryFrom(ctx); d.Attempt == 1 {
				return io.EOF
			}
			<-time.After(time.Second)
			return nil
		})
		listen(t, l, func(context.Context, int) error { return nil }, Concurrency(1))
		dispatch(t, l, 1, ID("x"), Delay(time.Second))
		for _, c := range []Conflict{KeepFirst, RunAgain} {
			require.ErrorIs(t, integers.Dispatch(t.Context(), l, 2, ID("x"), c), ErrDuplicate, "delayed")
		}
		pass(1500 * time.Millisecond)
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 2, ID("x")), ErrDuplicate, "waits for its retry")
		pass(time.Second)
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 2, ID("x")), ErrDuplicate, "runs")
		pass(time.Second) // it ended after 3s
		pass(59 * time.Second)
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 2, ID("x")), ErrDuplicate, "in the window")
		pass(500 * time.Millisecond)
		dispatch(t, l, 2, ID("x"))
		synctest.Wait()
		require.Equal(t, []string{"1 1s", "1 2s", "2 1m3s"}, ran.get())
		require.EqualValues(t, 5, l.Stats().Duplicates)
	})
}

func TestOneOfManyIsAccepted(t *testing.T) {
	for _, opts := range [][]HandlerOption{nil, {Synchronous()}} {
		l, ran, accepted := open(t), atomic.Int64{}, atomic.Int64{}
		listen(t, l, func(context.Context, int) error { ran.Add(1); return nil }, opts...)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for n := range 100 {
					err := integers.Dispatch(t.Context(), l, n, ID(fmt.Sprint(n)))
					if err == nil {
						accepted.Add(1)
					} else if !errors.Is(err, ErrDuplicate) {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		require.NoError(t, l.Stop(t.Context()))
		require.Equal(t, []int64{100, 100}, []int64{ran.Load(), accepted.Load()})
	}
}

func TestReplaceAndPushBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran, shared := open(t, WithMaxQueued(3)), &recorder{begin: time.Now()}, atomic.Int64{}
		listen(t, l, func(ctx context.Context, n int) error {
			ran.note(n)
			d, _ := DeliveryFrom(ctx)
			ran.add(fmt.Sprint(d.ID, " ", d.Headers["k"]))
			return nil
		})
		listen(t, l, func(context.Context, int) error { shared.Add(1); return nil }, Concurrency(1))
		dispatch(t, l, 1, ID("r"), Delay(time.Second), Header("k", "old"))
		dispatch(t, l, 2, ID("p"), PushBack, Delay(time.Second), Header("k", "kept"))
		dispatch(t, l, 3, ID("full"), Delay(time.Hour))
		for n := range 5 { // though the queue is full
			dispatch(t, l, 10+n, ID("r"), Replace, Delay(3*time.Second), Header("k", "new"))
			dispatch(t, l, 20+n, ID("p"), PushBack, Delay(2*time.Second))
			pass(500 * time.Millisecond)
		}
		require.Equal(t, 3, l.Stats().Queued)
		pass(10 * time.Second)
		require.Equal(t, []string{"2 4s", "p kept", "14 5s", "r new"}, ran.get())
		require.EqualValues(t, 2, shared.Load(), "every handler's copy is met")
		require.EqualValues(t, 13, l.Stats().Dispatched)
		require.Equal(t, 1, l.Stats().Queued)
		require.Equal(t, 2, l.timers.heap.n)
	})
}

func TestReplaceMeetsWhatIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran, release := open(t, WithParallelThreshold(1)), &recorder{begin: time.Now()}, make(chan struct{})
		listen(t, l, func(_ context.Context, n int) error { ran.note(n); <-release; return nil })
		dispatch(t, l, 0)
		synctest.Wait()
		for n := range 9 {
			dispatch(t, l, n+1, ID(fmt.Sprint(n+1)))
		}
		dispatch(t, l, 10, ID("1"), Replace)                    // now last
		dispatch(t, l, 20, ID("2"), Replace, Delay(time.Hour))  // later
		dispatch(t, l, 30, ID("3"), PushBack, Delay(time.Hour)) // later
		dispatch(t, l, 40, ID("4"), Replace, High)              // first
		ok, err := l.Reschedule(t.Context(), integers.Name(), "5", time.Now().Add(time.Minute))
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, cancel(t, l, "6"))
		close(release)
		pass(2 * time.Hour)
		require.Equal(t, []string{"0 0s", "40 0s", "7 0s", "8 0s", "9 0s", "10 0s", "5 1m0s", "20 1h0m0s", "3 1h0m0s"}, ran.get())
		require.Zero(t, l.Stats().Queued)
	})
}

func TestReplaceKeepsTheAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran := open(t), &recorder{begin: time.Now()}
		listen(t, l, func(ctx context.Context, n int) error {
			d, _ := DeliveryFrom(ctx)
			ran.note(100*d.Attempt + n)
			return io.EOF
		}, MaxAttempts(3), Fixed(time.Minute))
		dispatch(t, l, 1, ID("x"))
		pass(time.Second)
		dispatch(t, l, 2, ID("x"), Replace, Delay(time.Second))
		pass(time.Hour)
		require.Equal(t, []string{"101 0s", "202 2s", "302 1m2s"}, ran.get())
	})
}

func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran, release := open(t, WithMaxQueued(2), WithDedupWindow(time.Second)), &recorder{begin: time.Now()}, make(chan struct{})
		listen(t, l, func(ctx context.Context, n int) error {
			ran.note(n)
			<-release
			if d, _ := DeliveryFrom(ctx); d.Attempt == 1 && n < 3 {
				return io.EOF
			}
			return nil
		}, Fixed(time.Minute))
		again := func(n int, opts ...EventOption) error {
			return integers.Dispatch(t.Context(), l, n, append(opts, ID("x"), RunAgain)...)
		}
		require.NoError(t, again(1, Delay(time.Second)))
		require.ErrorIs(t, again(2), ErrDuplicate, "it waits")
		pass(time.Second)
		synctest.Wait()
		require.NoError(t, again(3))
		require.ErrorIs(t, again(4), ErrDuplicate, "one is kept")
		require.Equal(t, 2, l.Stats().Queued, "the one that is kept counts")
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 5), ErrMaxQueuedEventsReached)
		require.False(t, cancel(t, l, "y"))
		close(release)
		pass(30 * time.Second)
		require.ErrorIs(t, again(4), ErrDuplicate, "waits for its retry")
		pass(time.Minute)
		require.Equal(t, []string{"1 1s", "1 1m1s", "3 1m1s"}, ran.get(), "the kept one after the retry of the first")
		require.Zero(t, l.Stats().Queued)
	})
}

func TestRunAgainWaitsForItsOwnDelayAndIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran, release := open(t), &recorder{begin: time.Now()}, make(chan struct{})
		listen(t, l, func(_ context.Context, n int) error { ran.note(n); <-release; return nil })
		for _, id := range []string{"x", "y"} {
			dispatch(t, l, 1, ID(id))
			synctest.Wait()
			dispatch(t, l, 2, ID(id), RunAgain, Delay(time.Hour))
		}
		require.False(t, cancel(t, l, "y"), "it runs")
		close(release)
		pass(2 * time.Hour)
		require.Equal(t, []string{"1 0s", "1 0s", "2 1h0m0s"}, ran.get())
		require.Zero(t, l.Stats().Queued)
	})
}

func TestRunAgainIsKeptByEachLaneThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, slow, fast := open(t), &recorder{begin: time.Now()}, &recorder{begin: time.Now()}
		listen(t, l, func(ctx context.Context, n int) error {
			if d, _ := DeliveryFrom(ctx); !d.DueAt.Equal(time.Now()) {
				t.Errorf("due at %v, want now", d.DueAt)
			}
			slow.note(n)
			<-time.After(time.Minute)
			return nil
		})
		listen(t, l, func(_ context.Context, n int) error { fast.note(n); return nil }, Concurrency(1))
		dispatch(t, l, 1, ID("x"))
		synctest.Wait()
		dispatch(t, l, 2, ID("x"), RunAgain)
		pass(time.Hour)
		require.Equal(t, []string{"1 0s", "2 1m0s"}, slow.get())
		require.Equal(t, []string{"1 0s"}, fast.get())
		require.Zero(t, l.Stats().Queued)
	})
}

func TestCancelFreesTheIDAndTheQueueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran, release := open(t, WithMaxQueued(2), WithParallelThreshold(1)), &recorder{begin: time.Now()}, make(chan struct{})
		listen(t, l, func(_ context.Context, n int) error { ran.note(n); <-release; return nil })
		listen(t, l, func(context.Context, int) error { return io.EOF }, Concurrency(1), Fixed(time.Hour))
		dispatch(t, l, 0, ID("runs"), MaxAttempts(1))
		synctest.Wait()
		for n := range 1000 {
			opts := []EventOption{ID("x")}
			if n%2 == 0 {
				opts = append(opts, Delay(time.Hour))
			}
			dispatch(t, l, n, opts...)
			synctest.Wait()
			require.True(t, cancel(t, l, "x"), n)
			require.False(t, cancel(t, l, "x"))
			require.Equal(t, 1, l.Stats().Queued)
		}
		q := l.topic(integers.Name()).routes.Load().lanes[0].(*lane[int])
		require.Less(t, q.queue.n, 200, "what is canceled piles up")
		require.Zero(t, l.timers.heap.n)
		require.False(t, cancel(t, l, "runs"))
		close(release)
		synctest.Wait()
		require.Len(t, ran.get(), 1)
		require.EqualValues(t, 1000, l.Stats().Cancelled)
		require.Zero(t, l.Stats().Queued)
	})
}

func TestCancelAndStartHaveOneWinner(t *testing.T) {
	var ran, canceled, accepted atomic.Int64
	l := open(t)
	for _, opts := range [][]HandlerOption{nil, {Concurrency(2)}} {
		listen(t, l, func(context.Context, int) error { ran.Add(1); return nil }, opts...)
	}
	var all sync.WaitGroup
	for p := range 4 {
		all.Go(func() {
			for n := range 2000 {
				id := fmt.Sprint(p, n)
				var opts []EventOption
				if n%2 == 0 {
					opts = append(opts, Delay(time.Duration(n%20)*time.Microsecond))
				}
				dispatch(t, l, n, append(opts, ID(id))...)
				accepted.Add(1)
				if n%3 == 0 {
					if _, err := l.Reschedule(t.Context(), integers.Name(), id, time.Now()); err != nil {
						t.Error(err)
					}
				}
				if cancel(t, l, id) {
					canceled.Add(1)
				}
			}
		})
	}
	all.Wait()
	err := l.Stop(t.Context())
	s := l.Stats()
	require.EqualValues(t, canceled.Load(), s.Cancelled)
	require.Zero(t, s.Queued)
	// An event whose copies were canceled while none ran is canceled: it may
	// have run in one of its two lanes before that, but not in both.
	runs, uncanceled := ran.Load(), accepted.Load()-canceled.Load()
	if err == nil {
		require.GreaterOrEqual(t, runs, uncanceled)
		require.LessOrEqual(t, runs, 2*uncanceled+canceled.Load())
	}
}

func TestCanceledEventOfOneLaneNeverRuns(t *testing.T) {
	l, ran := open(t), sync.Map{}
	listen(t, l, func(ctx context.Context, n int) error { ran.Store(n, true); return nil })
	won := 0
	for n := range 20_000 {
		id := fmt.Sprint(n)
		dispatch(t, l, n, ID(id), Delay(time.Duration(n%3)*time.Microsecond))
		if cancel(t, l, id) {
			won++
			if _, ok := ran.Load(n); ok {
				t.Fatal("canceled and run")
			}
			ran.Store(n, false)
		}
	}
	require.NoError(t, l.Stop(t.Context()))
	kept := 0
	ran.Range(func(_, ok any) bool {
		if !ok.(bool) {
			kept++
		}
		return true
	})
	require.Equal(t, won, kept, "events ran that had been canceled")
}

func TestFanoutIDsAreKnownWithoutBound(t *testing.T) {
	l := open(t, WithParallelThreshold(1))
	listen(t, l, func(context.Context, int) error { return nil })
	for n := range 3 * mostFanned {
		require.NoError(t, Dispatch(t.Context(), integers.Name(), n, l))
	}
	require.NoError(t, l.Stop(t.Context()))
	ids := &l.topic(integers.Name()).ids
	require.Len(t, ids.known, mostFanned)
}

func TestEndedIDsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, WithDedupWindow(time.Minute))
		listen(t, l, func(context.Context, int) error { return nil })
		ids := &l.topic(integers.Name()).ids
		for n := range 5000 {
			dispatch(t, l, n, ID(fmt.Sprint(n)))
			pass(100 * time.Millisecond)
			require.LessOrEqual(t, len(ids.known), 601)
		}
	})
}

func TestRedispatchToLocalIsADuplicateWhileKnown(t *testing.T) {
	l, other := open(t), open(t)
	listen(t, l, func(context.Context, int) error { return nil })
	err := Dispatch(t.Context(), integers.Name(), 1, l, other)
	var failed *FanoutError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, []OutcomeStatus{Accepted, Rejected}, []OutcomeStatus{failed.Outcomes[0].Status, failed.Outcomes[1].Status})
	listen(t, other, func(context.Context, int) error { return nil })
	require.NoError(t, failed.Redispatch(t.Context()))
	require.NoError(t, other.Stop(t.Context()))
	require.EqualValues(t, 1, other.Stats().Handled)
	require.NoError(t, l.Stop(t.Context()))
	require.EqualValues(t, 1, l.Stats().Handled)
}

func TestMergesAndSynchronousHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, decided, ran := open(t), list[int]{}, &recorder{begin: time.Now()}
		refusal := error(nil)
		listen(t, l, func(_ context.Context, n int) error { decided.add(n); return refusal }, Synchronous())
		listen(t, l, func(_ context.Context, n int) error { ran.note(n); return nil })
		dispatch(t, l, 1, ID("x"), Delay(time.Minute))
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 2, ID("x")), ErrDuplicate)
		dispatch(t, l, 3, ID("x"), Replace, Delay(time.Hour))
		refusal = io.EOF
		require.ErrorIs(t, integers.Dispatch(t.Context(), l, 4, ID("x"), Replace), io.EOF)
		pass(2 * time.Hour)
		require.Equal(t, []int{1, 3, 4}, decided.get(), "asked for what would be accepted only")
		require.Equal(t, []string{"3 1h0m0s"}, ran.get())
	})
}
