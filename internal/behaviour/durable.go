package behaviour

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func testEventsWaitForAGroup(t *testing.T, o opener) {
	d := o.openDurable(t)
	topic := fanfare.NewTopic[int](t.Name())
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	got := NewReceived[int]()
	other := o.openDurable(t)
	_, err := topic.Register(t.Context(), other, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 2))
	require.ElementsMatch(t, []int{1, 2}, got.Wait(t, 2))
}

func testEveryGroupGetsItsCopyAndSharesItsWork(t *testing.T, o opener) {
	d := o.openDurable(t)
	topic := fanfare.NewTopic[int](t.Name())
	got := map[string]*Received[int]{"billing": NewReceived[int](), "shipping": NewReceived[int]()}
	for group, r := range got {
		for range 2 {
			_, err := topic.Register(t.Context(), o.openDurable(t), func(_ context.Context, n int) error { r.Add(n); return nil }, fanfare.Group(group))
			require.NoError(t, err)
		}
	}
	require.NoError(t, d.Queue(topic.Name(), "later").Create(t.Context()))
	for n := range 100 {
		require.NoError(t, topic.Dispatch(t.Context(), d, n))
	}
	for group, r := range got {
		seen := map[int]int{}
		for _, n := range r.Wait(t, 100) {
			seen[n]++
		}
		require.Len(t, seen, 100, group)
	}
	kept, err := d.Queue(topic.Name(), "later").Peek(t.Context(), 0, 200)
	require.NoError(t, err)
	require.Len(t, kept, 100)
	require.NoError(t, d.Queue(topic.Name(), "later").Delete(t.Context()))
	all, err := d.Status(t.Context(), topic.Name())
	require.NoError(t, err)
	require.Len(t, all, 2)
}

func testDispatchBatch(t *testing.T, o opener) {
	d := o.openDurable(t)
	topic, got := fanfare.NewTopic[int](t.Name()), NewReceived[int]()
	numbers := make([]int, 1500)
	for i := range numbers {
		numbers[i] = i
	}
	require.NoError(t, topic.DispatchBatch(t.Context(), d, numbers, fanfare.Priority(fanfare.High)))
	_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	seen := map[int]bool{}
	for _, n := range got.Wait(t, 1500) {
		seen[n] = true
	}
	require.Len(t, seen, 1500)

	err = d.DispatchBatch(t.Context(), topic.Name(), []any{
		fanfare.With(1, fanfare.ID("a"), fanfare.Delay(time.Hour)), 2, fanfare.With(3, fanfare.ID("a"), fanfare.Delay(time.Hour)),
	})
	var batch *fanfare.BatchError
	require.ErrorAs(t, err, &batch)
	require.ErrorIs(t, err, fanfare.ErrDuplicate)
	require.NoError(t, batch.Errs[0])
	require.NoError(t, batch.Errs[1])
	require.ErrorIs(t, batch.Errs[2], fanfare.ErrDuplicate)
	err = d.DispatchBatch(t.Context(), topic.Name(), []any{nil, 1, make([]byte, 2<<20), fanfare.With(1, nil), func() {}})
	require.ErrorAs(t, err, &batch)
	require.ErrorIs(t, batch.Errs[0], fanfare.ErrNoEventSpecified)
	require.NoError(t, batch.Errs[1])
	require.ErrorIs(t, batch.Errs[2], fanfare.ErrTooLarge)
	require.ErrorIs(t, batch.Errs[3], fanfare.ErrOption)
	require.ErrorContains(t, batch.Errs[4], "encode func()")
	require.ErrorContains(t, err, "4 of 5 events not accepted; event 0")
	require.NoError(t, d.DispatchBatch(t.Context(), topic.Name(), nil))
}

func testTooLargeIsRefused(t *testing.T, o opener) {
	d := o.openDurable(t)
	err := d.Dispatch(t.Context(), t.Name(), make([]byte, 2<<20))
	require.ErrorIs(t, err, fanfare.ErrTooLarge)
	small := o.openDurable(t, fanfare.WithMaxPayload(2000))
	require.ErrorIs(t, small.Dispatch(t.Context(), t.Name(), make([]byte, 2000)), fanfare.ErrTooLarge)
	require.NoError(t, small.Dispatch(t.Context(), t.Name(), make([]byte, 1900)))
}

func testUnencodableIsRefused(t *testing.T, o opener) {
	d := o.openDurable(t)
	require.ErrorContains(t, d.Dispatch(t.Context(), t.Name(), func() {}), "encode func()")
}

func testHealth(t *testing.T, o opener) {
	d := o.openDurable(t)
	require.NoError(t, d.Health(t.Context()))
	sick := o.openDurable(t, fanfare.WithUnhealthyAfter(50*time.Millisecond))
	topic, release := fanfare.NewTopic[int](t.Name()), make(chan struct{})
	_, err := topic.Register(t.Context(), sick, func(context.Context, int) error { <-release; return nil }, fanfare.Concurrency(1))
	require.NoError(t, err)
	require.NoError(t, sick.Health(t.Context()))
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	require.NoError(t, topic.Dispatch(t.Context(), d, 2))
	Eventually(t, func() bool { return errors.Is(sick.Health(t.Context()), fanfare.ErrUnhealthy) }, "unhealthy")
	require.NoError(t, d.Health(t.Context()), "not its topic")
	close(release)
	Eventually(t, func() bool { return sick.Health(t.Context()) == nil }, "healthy again")
}
