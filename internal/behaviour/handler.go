package behaviour

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func testHandlersOfOneTopicRetryForThemselves(t *testing.T, o opener) {
	d := o.open(t)
	topic := fanfare.NewTopic[int](t.Name())
	got := map[string]*Received[int]{}
	for i, group := range []string{"billing", "shipping", "a:{b} *"} {
		r := NewReceived[int]()
		got[group] = r
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, n int) error {
			if info, _ := fanfare.DeliveryFrom(ctx); info.Group != group {
				return fmt.Errorf("group %q", info.Group)
			}
			if r.Add(n) <= i {
				return errors.New("not yet")
			}
			return nil
		}, fanfare.Group(group), fanfare.Fixed(20*time.Millisecond))
		require.NoError(t, err)
	}
	_, err := topic.Register(t.Context(), d, func(context.Context, int) error { return nil }, fanfare.Group("billing"))
	require.ErrorIs(t, err, fanfare.ErrGroupTaken)
	require.NoError(t, topic.Dispatch(t.Context(), d, 7))
	Eventually(t, func() bool { s := stats(d); return s.Handled == 3 && s.Retried == 3 }, "all handled")
	require.Equal(t, []int{7}, got["billing"].All())
	require.Equal(t, []int{7, 7}, got["shipping"].All())
	require.Equal(t, []int{7, 7, 7}, got["a:{b} *"].All())
}

func testCausationTravelsInHeaders(t *testing.T, o opener) {
	d := o.open(t)
	name, got := t.Name(), NewReceived[fanfare.Delivery]()
	for i := range 3 {
		topic := fanfare.NewTopic[int](fmt.Sprint(name, i))
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, n int) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			got.Add(info)
			if i == 2 {
				return nil
			}
			return fanfare.NewTopic[int](fmt.Sprint(name, i+1)).Dispatch(ctx, d, n)
		})
		require.NoError(t, err)
	}
	require.NoError(t, d.Dispatch(t.Context(), name+"0", 1))
	all := got.Wait(t, 3)
	require.Empty(t, all[0].Headers)
	require.Equal(t, map[string]string{fanfare.HeaderCausation: all[0].ID, fanfare.HeaderCorrelation: all[0].ID}, all[1].Headers)
	require.Equal(t, map[string]string{fanfare.HeaderCausation: all[1].ID, fanfare.HeaderCorrelation: all[0].ID}, all[2].Headers)
}

func testMiddlewareWrapsInOrder(t *testing.T, o opener) {
	calls := NewReceived[string]()
	around := func(name string) fanfare.Middleware {
		return func(next fanfare.HandleFunc) fanfare.HandleFunc {
			return func(ctx context.Context, event any) error {
				calls.Add(name)
				return next(ctx, event)
			}
		}
	}
	dispatching := func(next fanfare.DispatchFunc) fanfare.DispatchFunc {
		return func(ctx context.Context, topic string, event any) error {
			calls.Add("dispatch")
			return next(ctx, topic, fanfare.With(event, fanfare.Header("by", "middleware")))
		}
	}
	d := o.open(t, fanfare.WithMiddleware(around("outer"), around("inner")), fanfare.WithDispatchMiddleware(dispatching))
	topic, got := fanfare.NewTopic[int](t.Name()), NewReceived[fanfare.Delivery]()
	_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		got.Add(info)
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	require.Equal(t, "middleware", got.Wait(t, 1)[0].Headers["by"])
	require.Equal(t, []string{"dispatch", "outer", "inner"}, calls.All())
}

func testWrongHandlerOptionsAreErrorsOfRegister(t *testing.T, o opener) {
	d, number := o.open(t), fanfare.NewTopic[int](t.Name())
	handle := func(context.Context, int) error { return nil }
	for name, option := range map[string]fanfare.HandlerOption{
		"nil":         nil,
		"group":       fanfare.Group(""),
		"long group":  fanfare.Group(string(make([]byte, 256))),
		"concurrency": fanfare.Concurrency(0),
		"attempts":    fanfare.MaxAttempts(0),
		"backoff":     fanfare.Backoff(nil),
		"timeout":     fanfare.Timeout(0),
		"lease":       fanfare.Lease(time.Millisecond),
	} {
		_, err := number.Register(t.Context(), d, handle, option)
		require.ErrorIs(t, err, fanfare.ErrOption, name)
	}
	if o.durable {
		_, err := number.Register(t.Context(), d, handle, fanfare.Synchronous())
		require.ErrorIs(t, err, fanfare.ErrUnsupported)
	} else {
		_, err := number.Register(t.Context(), d, handle, fanfare.Lease(time.Minute))
		require.ErrorIs(t, err, fanfare.ErrUnsupported)
	}
	_, err := d.Register(t.Context(), "t", nil)
	require.ErrorIs(t, err, fanfare.ErrNilHandler)
	_, err = number.Register(t.Context(), d, nil)
	require.ErrorIs(t, err, fanfare.ErrNilHandler)
	_, err = d.Register(t.Context(), "", fanfare.HandleFunc(func(context.Context, any) error { return nil }))
	require.ErrorIs(t, err, fanfare.ErrNoTopicSpecified)
	_, err = d.Register(t.Context(), "\xff", fanfare.HandleFunc(func(context.Context, any) error { return nil }))
	require.ErrorIs(t, err, fanfare.ErrInvalid)
}

func testFanoutGivesAllTheSameEvent(t *testing.T, o opener) {
	first, second := o.open(t), Local.start(t).open(t)
	topic, got := fanfare.NewTopic[order](t.Name()), NewReceived[fanfare.Delivery]()
	for _, d := range []fanfare.Dispatcher{first, second} {
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, v order) error {
			require.Equal(t, sample, v)
			info, _ := fanfare.DeliveryFrom(ctx)
			got.Add(info)
			return nil
		})
		require.NoError(t, err)
	}
	require.NoError(t, fanfare.Dispatch(t.Context(), topic.Name(), sample, first, second))
	require.NoError(t, topic.Dispatch(t.Context(), fanfare.Fanout{first, second}, sample, fanfare.Header("k", "v")))
	all := got.Wait(t, 4)
	ids := map[string]int{}
	for _, info := range all {
		ids[info.ID]++
	}
	require.Len(t, ids, 2)
	for id, n := range ids {
		require.Equal(t, 2, n, id)
	}
	require.NoError(t, first.Stop(t.Context()))
	err := topic.Dispatch(t.Context(), fanfare.Fanout{first, second}, sample)
	require.ErrorIs(t, err, fanfare.ErrStopped)
	got.Wait(t, 5)
}
