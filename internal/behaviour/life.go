package behaviour

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func testRemoveEndsOneHandlerAndWaits(t *testing.T, o opener) {
	d := o.open(t)
	topic, got, release := fanfare.NewTopic[int](t.Name()), NewReceived[int](), make(chan struct{})
	kept := NewReceived[int]()
	r, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); <-release; return nil }, fanfare.Group("goes"))
	require.NoError(t, err)
	_, err = topic.Register(t.Context(), d, func(_ context.Context, n int) error { kept.Add(n); return nil }, fanfare.Group("stays"))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	got.Wait(t, 1)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, d.Remove(ctx, r), context.DeadlineExceeded, "it runs")
	require.ErrorIs(t, d.Remove(t.Context(), r), fanfare.ErrNoHandlerFound)
	require.NoError(t, topic.Dispatch(t.Context(), d, 2))
	close(release)
	kept.Wait(t, 2)
	stays(t, 50*time.Millisecond, func() bool { return len(got.All()) == 1 }, "the removed handler starts no more")
	require.ErrorIs(t, d.Remove(t.Context(), nil), fanfare.ErrNoHandlerFound)
}

func testHandlerMayRemoveItself(t *testing.T, o opener) {
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
	Eventually(t, func() bool { return stats(d).Handled == 1 }, "the event is done")
}

func testPanicsOfCallbacksAreSurvived(t *testing.T, o opener) {
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
	Eventually(t, func() bool { s := stats(d); return s.Handled == 1 && s.Dead == 1 && s.Retried == 2 }, "life goes on")
}

func testStopDrainsAndRefuses(t *testing.T, o opener) {
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, d.Stop(ctx))
	require.EqualValues(t, 3, handled.Load())
	require.EqualValues(t, 3, stats(d).Handled)
	require.NoError(t, d.Stop(ctx), "twice")
	require.ErrorIs(t, topic.Dispatch(t.Context(), d, 1), fanfare.ErrStopped)
	_, err = topic.Register(t.Context(), d, func(context.Context, int) error { return nil }, fanfare.Group("late"))
	require.ErrorIs(t, err, fanfare.ErrStopped)
}

func testStopWaitsForHandlersOfRemoved(t *testing.T, o opener) {
	d := o.open(t)
	topic, started, ended := fanfare.NewTopic[int](t.Name()), make(chan struct{}), atomic.Bool{}
	r, err := topic.Register(t.Context(), d, func(context.Context, int) error {
		close(started)
		<-time.After(200 * time.Millisecond)
		ended.Store(true)
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, d.Remove(ctx, r), context.DeadlineExceeded)
	require.NoError(t, d.Stop(t.Context()))
	require.True(t, ended.Load())
	require.EqualValues(t, 1, stats(d).Handled)
}

func testStopEndsWithItsContext(t *testing.T, o opener) {
	d := o.open(t)
	topic, causes, release := fanfare.NewTopic[string](t.Name()), NewReceived[error](), make(chan struct{})
	defer close(release)
	started := NewReceived[string]()
	_, err := topic.Register(t.Context(), d, func(ctx context.Context, v string) error {
		started.Add(v)
		<-ctx.Done()
		causes.Add(context.Cause(ctx))
		if v == "deaf" {
			<-release
		}
		return ctx.Err()
	})
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, "polite"))
	require.NoError(t, topic.Dispatch(t.Context(), d, "deaf"))
	started.Wait(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err = d.Stop(ctx)
	require.Less(t, time.Since(begin), 2*time.Second)
	var left *fanfare.StopError
	require.ErrorAs(t, err, &left)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 1, left.Running, left)
	for _, cause := range causes.Wait(t, 2) {
		require.ErrorIs(t, cause, fanfare.ErrStopped)
	}
	if !o.durable {
		return
	}
	require.Equal(t, 2, left.Released, left)
	second, again := o.openDurable(t), NewReceived[int]()
	_, err = topic.Register(t.Context(), second, func(ctx context.Context, _ string) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		again.Add(info.Attempt)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, again.Wait(t, 2), "given back at once, without an attempt")
	require.Less(t, time.Since(begin), 10*time.Second)
}

func testDispatcherStopsWithItsContext(t *testing.T, o opener) {
	bound, end := context.WithCancel(t.Context())
	defer end()
	d := o.open(t, fanfare.WithContext(bound, time.Second))
	topic, got := fanfare.NewTopic[int](t.Name()), NewReceived[int]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	got.Wait(t, 1)
	end()
	Eventually(t, func() bool { return errors.Is(topic.Dispatch(t.Context(), d, 2), fanfare.ErrStopped) }, "stops")
	require.NoError(t, d.Stop(t.Context()))
}
