package behaviour

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func testConcurrencyIsBoundedAndUsed(t *testing.T, o opener) {
	d := o.open(t)
	topic := fanfare.NewTopic[int](t.Name())
	var running, most atomic.Int64
	release, handled := make(chan struct{}), NewReceived[int]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
		now := running.Add(1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		<-release
		running.Add(-1)
		handled.Add(n)
		return nil
	}, fanfare.Concurrency(3))
	require.NoError(t, err)
	for n := range 20 {
		require.NoError(t, topic.Dispatch(t.Context(), d, n))
	}
	Eventually(t, func() bool { return running.Load() == 3 }, "three run")
	stays(t, 50*time.Millisecond, func() bool { return running.Load() == 3 }, "three run")
	close(release)
	handled.Wait(t, 20)
	require.EqualValues(t, 3, most.Load())
}

func testDelayedEventsAreOnTimeAndNeverEarly(t *testing.T, o opener) {
	d := o.open(t)
	topic, got := fanfare.NewTopic[time.Time](t.Name()), NewReceived[time.Duration]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, due time.Time) error {
		got.Add(time.Since(due))
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
	for _, late := range got.Wait(t, 10) {
		require.GreaterOrEqual(t, late, time.Duration(0))
		require.Less(t, late, time.Second)
	}
}

type delayedEvent struct{ Wait time.Duration }

func (e delayedEvent) Delayed() time.Duration { return e.Wait }

func testDelayedEventInterface(t *testing.T, o opener) {
	d := o.open(t)
	topic, got := fanfare.NewTopic[delayedEvent](t.Name()), NewReceived[time.Time]()
	_, err := topic.Register(t.Context(), d, func(context.Context, delayedEvent) error { got.Add(time.Now()); return nil })
	require.NoError(t, err)
	begin := time.Now()
	require.NoError(t, topic.Dispatch(t.Context(), d, delayedEvent{100 * time.Millisecond}))
	require.GreaterOrEqual(t, got.Wait(t, 1)[0].Sub(begin), 100*time.Millisecond)
	require.NoError(t, topic.Dispatch(t.Context(), d, delayedEvent{time.Hour}, fanfare.Delay(0)))
	got.Wait(t, 2)
}

func testHigherPriorityFirstAndNoneStarved(t *testing.T, o opener) {
	d := o.open(t)
	topic, got := fanfare.NewTopic[string](t.Name()), NewReceived[string]()
	gate := make(chan struct{})
	_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error {
		if v == "gate" {
			<-gate
			return nil
		}
		got.Add(v)
		return nil
	}, fanfare.Concurrency(1))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, "gate"))
	Eventually(t, func() bool { return stats(d).Running == 1 }, "gate runs")
	for range 30 {
		for name, p := range map[string]fanfare.Priority{"low": fanfare.Low, "normal": fanfare.Normal, "high": fanfare.High} {
			require.NoError(t, topic.Dispatch(t.Context(), d, name, p))
		}
	}
	close(gate)
	count := map[string]int{}
	for _, v := range got.Wait(t, 90)[:30] {
		count[v]++
	}
	require.InDelta(t, 18, count["high"], 2, count)
	require.InDelta(t, 9, count["normal"], 2, count)
	require.InDelta(t, 3, count["low"], 2, count)
}

func testFirstInFirstOutWithinOnePriority(t *testing.T, o opener) {
	d := o.open(t)
	topic, got := fanfare.NewTopic[int](t.Name()), NewReceived[int]()
	for n := range 3 { // due before the rest is dispatched
		require.NoError(t, dispatchUnhandled(t, o, d, topic, n))
	}
	_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil }, fanfare.Concurrency(1))
	require.NoError(t, err)
	for n := 3; n < 50; n++ {
		require.NoError(t, topic.Dispatch(t.Context(), d, n, fanfare.Delay(time.Duration(n)*2*time.Millisecond)))
	}
	first := 0
	if !o.durable {
		first = 3
	}
	for i, n := range got.Wait(t, 50-first) {
		require.Equal(t, first+i, n)
	}
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
