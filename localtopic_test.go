package fanfare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTypesOfATopic(t *testing.T) {
	l, got := open(t), list[any]{}
	listen(t, l, func(_ context.Context, n int) error { got.add(n); return nil })
	_, err := NewTopic[string](integers.Name()).Register(t.Context(), l, func(context.Context, string) error { return nil })
	require.ErrorIs(t, err, ErrTopicType)
	require.ErrorContains(t, err, "string")
	untyped, err := l.Register(t.Context(), integers.Name(), HandleFunc(func(_ context.Context, v any) error { got.add(v); return nil }))
	require.NoError(t, err, "an untyped handler takes any type")
	dispatch(t, l, 1)
	require.NoError(t, l.Dispatch(t.Context(), integers.Name(), 2))
	require.NoError(t, l.Dispatch(t.Context(), integers.Name(), Encoded{contentType: JSON.Name(), data: []byte("3")}))
	require.ErrorIs(t, l.Dispatch(t.Context(), integers.Name(), Encoded{contentType: JSON.Name(), data: []byte("x")}), ErrDecode)
	require.ErrorIs(t, l.Dispatch(t.Context(), integers.Name(), 4.0), ErrTopicType)
	require.NoError(t, l.Stop(t.Context()))
	require.ElementsMatch(t, []any{1, 1, 2, 2, 3, 3}, got.get())
	require.Equal(t, integers.Name(), untyped.Topic())
	require.Equal(t, "default", untyped.Group())
}

func TestTypedHandlersOfAnUntypedTopicDecode(t *testing.T) {
	dropped := make(chan Dropped, 1)
	l, got := open(t, WithOnDrop(func(d Dropped) { dropped <- d })), list[any]{}
	_, err := l.Register(t.Context(), integers.Name(), HandleFunc(func(_ context.Context, v any) error { got.add(v); return nil }), Concurrency(1))
	require.NoError(t, err)
	listen(t, l, func(_ context.Context, n int) error { got.add(n); return nil })
	_, err = NewTopic[string](integers.Name()).Register(t.Context(), l, func(_ context.Context, v string) error { got.add(v); return nil }, Group("text"))
	require.NoError(t, err)
	dispatch(t, l, 1)
	d := <-dropped
	require.Equal(t, ReasonUndecodable, d.Reason)
	require.ErrorIs(t, d.Err, ErrDecode)
	require.Equal(t, []any{1, "text"}, []any{d.Event, d.Group})
	require.NoError(t, l.Stop(t.Context()))
	require.ElementsMatch(t, []any{1, 1}, got.get())
}

func TestTopicIsForgottenWithItsLastHandler(t *testing.T) {
	l := open(t)
	r := listen(t, l, func(context.Context, int) error { return nil })
	dispatch(t, l, 1, ID("x"))
	dispatch(t, l, 1)
	require.NoError(t, l.Remove(t.Context(), r))
	require.ErrorIs(t, integers.Dispatch(t.Context(), l, 1), ErrNoHandlerFound)
	texts, got := NewTopic[string](integers.Name()), make(chan string, 1)
	_, err := texts.Register(t.Context(), l, func(_ context.Context, v string) error { got <- v; return nil })
	require.NoError(t, err, "its type is forgotten too")
	require.NoError(t, texts.Dispatch(t.Context(), l, "a", ID("x")))
	require.Equal(t, "a", <-got)
	require.ErrorIs(t, l.Remove(t.Context(), r), ErrNoHandlerFound)
	require.NoError(t, l.Stop(t.Context()))
	require.EqualValues(t, 3, l.Stats().Dispatched, "counted also after its lane is gone")
}

func TestHandlerGetsWhatIsAcceptedAfterRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, release := open(t, WithParallelThreshold(1)), make(chan struct{})
		first, second, third := list[int]{}, list[int]{}, list[int]{}
		listen(t, l, func(_ context.Context, n int) error { first.add(n); <-release; return nil })
		dispatch(t, l, 1)
		dispatch(t, l, 2)
		dispatch(t, l, 3, Delay(time.Hour))
		listen(t, l, func(_ context.Context, n int) error { second.add(n); return nil })
		listen(t, l, func(_ context.Context, n int) error { third.add(n); return nil }, Concurrency(1))
		dispatch(t, l, 4)
		dispatch(t, l, 5, Delay(time.Hour))
		close(release)
		pass(2 * time.Hour)
		require.Equal(t, []int{1, 2, 4, 3, 5}, first.get())
		require.Equal(t, []int{4, 5}, second.get())
		require.Equal(t, []int{4, 5}, third.get())
	})
}

func TestSharedPoolIsMadeAnewAfterItsLastHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, handle := open(t), func(context.Context, int) error { return nil }
		r := listen(t, l, handle)
		listen(t, l, handle, Concurrency(1))
		dispatch(t, l, 1)
		synctest.Wait()
		require.Equal(t, 1, pool(l), "parked")
		require.NoError(t, l.Remove(t.Context(), r))
		r = listen(t, l, handle)
		dispatch(t, l, 2)
		synctest.Wait()
		require.EqualValues(t, 4, l.Stats().Handled)
		q := r.owner.(*localHandler).lane.(*lane[int])
		require.Len(t, q.parked, 1)
		require.Zero(t, l.Stats().Queued)
	})
}

func TestGroupsMayBeNamedOnce(t *testing.T) {
	l := open(t)
	handle := func(context.Context, int) error { return nil }
	r := listen(t, l, handle, Group("billing"))
	require.Equal(t, "billing", r.Group())
	for range 3 {
		listen(t, l, handle)
	}
	_, err := integers.Register(t.Context(), l, handle, Group("billing"), Concurrency(1))
	require.ErrorIs(t, err, ErrGroupTaken)
	require.NoError(t, l.Remove(t.Context(), r))
	listen(t, l, handle, Group("billing"))
	_, err = integers.Register(t.Context(), l, handle, Synchronous(), Concurrency(1))
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorIs(t, err, ErrOption)
}

func TestRemoveWaitsForItsOwnHandlerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, release, started := open(t, WithParallelThreshold(1)), make(chan struct{}), 0
		mine := listen(t, l, func(context.Context, int) error { started++; return nil })
		other := listen(t, l, func(context.Context, int) error { <-release; return nil })
		dispatch(t, l, 1)
		dispatch(t, l, 2)
		synctest.Wait() // other runs, of the same event and in the same goroutine
		require.NoError(t, l.Remove(t.Context(), mine))
		require.Equal(t, 2, l.Stats().Queued)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		require.ErrorIs(t, l.Remove(ctx, other), context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(begin))
		require.Equal(t, 1, l.Stats().Running, "a removed handler that runs")
		require.Equal(t, 1, l.Stats().Queued, "what nobody listens to is done")
		close(release)
		synctest.Wait()
		require.Equal(t, 1, started)
		require.Zero(t, l.Stats().Queued)
		require.EqualValues(t, 2, l.Stats().Handled)
		require.NoError(t, l.Stop(t.Context()))
	})
}

func TestHandlerMayRemoveItself(t *testing.T) {
	for _, opts := range [][]HandlerOption{nil, {Concurrency(1)}, {Synchronous()}, {Timeout(time.Hour)}} {
		synctest.Test(t, func(t *testing.T) {
			l, runs, r := open(t), 0, (*Registration)(nil)
			r = listen(t, l, func(ctx context.Context, _ int) error {
				runs++
				return l.Remove(ctx, r)
			}, opts...)
			for n := range 3 {
				err := integers.Dispatch(t.Context(), l, n)
				synctest.Wait()
				if n > 0 {
					require.ErrorIs(t, err, ErrNoHandlerFound)
				}
			}
			require.NoError(t, l.Stop(t.Context()))
			require.Equal(t, 1, runs)
			require.EqualValues(t, 1, l.Stats().Handled)
		})
	}
}

func TestRemovedHandlerStartsNoMore(t *testing.T) {
	l, removed, late := open(t), atomic.Bool{}, atomic.Int64{}
	listen(t, l, func(context.Context, int) error { return nil })
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := integers.Dispatch(t.Context(), l, n); err != nil && !errors.Is(err, ErrMaxQueuedEventsReached) {
				t.Error(err)
			}
		}
	}()
	for n := range 300 {
		var opts []HandlerOption
		if n%2 == 0 {
			opts = append(opts, Concurrency(3))
		}
		removed.Store(false)
		r := listen(t, l, func(context.Context, int) error {
			if removed.Load() {
				late.Add(1)
			}
			runtime.Gosched()
			return nil
		}, opts...)
		runtime.Gosched()
		require.NoError(t, l.Remove(t.Context(), r))
		removed.Store(true)
		runtime.Gosched()
	}
	close(stop)
	<-done
	require.Zero(t, late.Load(), "starts or runs after Remove returned")
}

func TestRemovedHandlerIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, runs, release := open(t), atomic.Int64{}, make(chan struct{})
		r := listen(t, l, func(context.Context, int) error { runs.Add(1); <-release; return io.EOF })
		waits := listen(t, l, func(context.Context, int) error { runs.Add(1); return io.EOF }, Concurrency(1), Fixed(time.Hour))
		dispatch(t, l, 1, ID("x"))
		synctest.Wait()
		require.Error(t, l.Remove(ended(t), r))
		require.NoError(t, l.Remove(t.Context(), waits))
		close(release)
		pass(2 * time.Hour)
		require.EqualValues(t, 2, runs.Load())
		require.Zero(t, l.Stats().Queued)
		require.EqualValues(t, 1, l.Stats().Retried)
	})
}

func TestSynchronousHandlersDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, calls, refusal := open(t), list[string]{}, error(nil)
		type key struct{}
		ids := map[string]bool{}
		note := func(name string) func(context.Context, int) error {
			return func(ctx context.Context, n int) error {
				d, ok := DeliveryFrom(ctx)
				if !ok || d.Attempt != 1 || d.Topic != integers.Name() {
					t.Errorf("delivery %+v", d)
				}
				ids[d.ID] = true
				calls.add(fmt.Sprint(name, n))
				if name == "async" {
					return nil
				}
				if ctx.Value(key{}) != "caller" {
					t.Error("not the caller's context")
				}
				if name == "first" && refusal != nil {
					return refusal
				}
				return nil
			}
		}
		listen(t, l, note("async"))
		listen(t, l, note("first"), Synchronous())
		listen(t, l, note("second"), Synchronous())
		ctx := context.WithValue(t.Context(), key{}, "caller")
		require.NoError(t, integers.Dispatch(ctx, l, 1, Delay(time.Hour)))
		require.Equal(t, []string{"first1", "second1"}, calls.get(), "before Dispatch returns, in their order")
		pass(time.Hour)
		synctest.Wait()
		require.Equal(t, []string{"first1", "second1", "async1"}, calls.get())
		require.Len(t, ids, 1, "all see one id")

		refusal = io.ErrUnexpectedEOF
		require.ErrorIs(t, integers.Dispatch(ctx, l, 2), refusal)
		require.ErrorIs(t, integers.Dispatch(ctx, l, 2, ID("x")), refusal)
		synctest.Wait()
		require.Equal(t, []string{"first2", "first2"}, calls.get()[3:])
		require.Zero(t, l.Stats().Queued)
		refusal = nil
		require.NoError(t, integers.Dispatch(ctx, l, 3, ID("x")), "the id of a refused event is free")
		require.ErrorIs(t, integers.Dispatch(ctx, l, 4, ID("x")), ErrDuplicate)
		synctest.Wait()
		require.Equal(t, []string{"first3", "second3", "async3"}, calls.get()[5:], "not for a duplicate")
		s := l.Stats()
		require.Equal(t, []uint64{2, 2, 1}, []uint64{s.Dispatched, s.Rejected, s.Duplicates})
	})
}

func TestSynchronousHandlerThatPanicsOrExits(t *testing.T) {
	l, fail := open(t, WithMaxQueued(1)), func() {}
	listen(t, l, func(context.Context, int) error { fail(); return nil }, Synchronous())
	fail = func() { panic(io.EOF) }
	err := integers.Dispatch(t.Context(), l, 1, ID("x"))
	require.ErrorAs(t, err, new(*PanicError))
	require.ErrorIs(t, err, io.EOF)
	fail = runtime.Goexit
	for _, opts := range [][]EventOption{nil, {ID("x")}} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = integers.Dispatch(context.Background(), l, 1, opts...)
			t.Error("Dispatch returned")
		}()
		<-done
	}
	fail = func() {}
	dispatch(t, l, 1, ID("x"))
	dispatch(t, l, 1)
	require.NoError(t, l.Stop(t.Context()), "a unit or a handler was lost")
	require.Equal(t, Stats{Dispatched: 2, Rejected: 1, Started: 5, Handled: 2}, l.Stats())
}

func TestAtMostOnceHasNoRetries(t *testing.T) {
	l, runs := open(t, WithBackoff(NoBackoff())), 0
	listen(t, l, func(context.Context, int) error { runs++; return io.EOF }, AtMostOnce(), MaxAttempts(5))
	dispatch(t, l, 1, MaxAttempts(3))
	require.NoError(t, l.Stop(t.Context()))
	require.Equal(t, 1, runs)
	require.EqualValues(t, 1, l.Stats().Dead)
}
