package fanfare_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func TestRemoveEndsOneHandlerAndWaits(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, got, release := fanfare.NewTopic[int](t.Name()), newReceived[int](), make(chan struct{})
		kept := newReceived[int]()
		r, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.add(n); <-release; return nil }, fanfare.Group("goes"))
		require.NoError(t, err)
		_, err = topic.Register(t.Context(), d, func(_ context.Context, n int) error { kept.add(n); return nil }, fanfare.Group("stays"))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		got.wait(t, 1)

		ctx, cancel := contextFor(50 * time.Millisecond)
		defer cancel()
		require.ErrorIs(t, d.Remove(ctx, r), context.DeadlineExceeded, "it runs")
		require.ErrorIs(t, d.Remove(t.Context(), r), fanfare.ErrNoHandlerFound)
		require.NoError(t, topic.Dispatch(t.Context(), d, 2))
		close(release)
		kept.wait(t, 2)
		stays(t, 50*time.Millisecond, func() bool { return len(got.snapshot()) == 1 }, "the removed handler starts no more")
		require.ErrorIs(t, d.Remove(t.Context(), nil), fanfare.ErrNoHandlerFound)
	})
}

func TestHandlerMayRemoveItself(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, result, registered := fanfare.NewTopic[int](t.Name()), make(chan error, 1), make(chan *fanfare.Registration, 1)
		r, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			result <- d.Remove(ctx, <-registered)
			return nil
		})
		require.NoError(t, err)
		registered <- r
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		select {
		case err := <-result:
			require.NoError(t, err)
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for itself")
		}
		eventually(t, func() bool { return o.stats(d).Handled == 1 }, "the event is done")
	})
}

func TestPanicsOfCallbacksAreSurvived(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		panics := func(fanfare.Observation) { panic("observer") }
		opts := []fanfare.Option{fanfare.WithObserver(fanfare.Observer{
			Dispatched: panics, Started: panics, Finished: panics, Retried: panics, Dead: panics,
		})}
		if !o.durable {
			opts = append(opts, fanfare.WithOnDrop(func(fanfare.Dropped) { panic("drop") }))
		}
		d := o.open(t, opts...)
		topic := fanfare.NewTopic[int](t.Name())
		_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
			if n == 1 {
				return errors.New("no")
			}
			return nil
		}, fanfare.MaxAttempts(1))
		require.NoError(t, err)
		_, err = topic.Register(t.Context(), d, func(context.Context, int) error { return errors.New("no") },
			fanfare.Group("backoff"), fanfare.Backoff(func(int) time.Duration { panic("backoff") }))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		require.NoError(t, topic.Dispatch(t.Context(), d, 2))
		eventually(t, func() bool { s := o.stats(d); return s.Handled == 1 && s.Dead == 1 && s.Retried == 2 }, "life goes on")
	})
}

func TestStopDrainsAndRefuses(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, handled, started := fanfare.NewTopic[int](t.Name()), atomic.Int64{}, make(chan struct{}, 10)
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			started <- struct{}{}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			handled.Add(1)
			return ctx.Err()
		})
		require.NoError(t, err)
		for n := range 3 {
			require.NoError(t, topic.Dispatch(t.Context(), d, n))
		}
		for range 3 {
			<-started
		}
		ctx, cancel := contextFor(10 * time.Second)
		defer cancel()
		require.NoError(t, d.Stop(ctx))
		require.EqualValues(t, 3, handled.Load())
		require.EqualValues(t, 3, o.stats(d).Handled)
		require.NoError(t, d.Stop(ctx), "twice")
		require.ErrorIs(t, topic.Dispatch(t.Context(), d, 1), fanfare.ErrStopped)
		_, err = topic.Register(t.Context(), d, func(context.Context, int) error { return nil }, fanfare.Group("late"))
		require.ErrorIs(t, err, fanfare.ErrStopped)
	})
}

func TestStopEndsWithItsContext(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, causes, release := fanfare.NewTopic[string](t.Name()), newReceived[error](), make(chan struct{})
		defer close(release)
		started := newReceived[string]()
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, v string) error {
			started.add(v)
			<-ctx.Done()
			causes.add(context.Cause(ctx))
			if v == "deaf" {
				<-release
			}
			return ctx.Err()
		})
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, "polite"))
		require.NoError(t, topic.Dispatch(t.Context(), d, "deaf"))
		started.wait(t, 2)
		ctx, cancel := contextFor(50 * time.Millisecond)
		defer cancel()
		begin := time.Now()
		err = d.Stop(ctx)
		require.Less(t, time.Since(begin), 2*time.Second)
		var left *fanfare.StopError
		require.ErrorAs(t, err, &left)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, left.Running, left)
		for _, cause := range causes.wait(t, 2) {
			require.ErrorIs(t, cause, fanfare.ErrStopped)
		}
		if !o.durable {
			return
		}
		require.Equal(t, 2, left.Released, left)
		second, again := o.again(t, d), newReceived[int]()
		_, err = topic.Register(t.Context(), second, func(ctx context.Context, _ string) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			again.add(info.Attempt)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, []int{1, 1}, again.wait(t, 2), "given back at once, without an attempt")
		require.Less(t, time.Since(begin), 10*time.Second)
	})
}

func TestDispatcherStopsWithItsContext(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		bound, end := context.WithCancel(t.Context())
		defer end()
		d := o.open(t, fanfare.WithContext(bound, time.Second))
		topic, got := fanfare.NewTopic[int](t.Name()), newReceived[int]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.add(n); return nil })
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		got.wait(t, 1)
		end()
		eventually(t, func() bool { return errors.Is(topic.Dispatch(t.Context(), d, 2), fanfare.ErrStopped) }, "stops")
		require.NoError(t, d.Stop(t.Context()))
	})
}
