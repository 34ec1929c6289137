package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// keyed can cancel.
type keyed interface {
	fanfare.Dispatcher
	Cancel(ctx context.Context, topic, id string) (bool, error)
	Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error)
}

func TestIDIsUniqueWhileItLives(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, got, release := fanfare.NewTopic[int](t.Name()), newReceived[int](), make(chan struct{})
		_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
			got.add(n)
			<-release
			return nil
		})
		require.NoError(t, err)

		var accepted atomic.Int64
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				err := topic.Dispatch(t.Context(), d, n, fanfare.ID("one"), fanfare.Delay(100*time.Millisecond))
				if err == nil {
					accepted.Add(1)
				} else if !errors.Is(err, fanfare.ErrDuplicate) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, accepted.Load())
		got.wait(t, 1)
		require.ErrorIs(t, topic.Dispatch(t.Context(), d, 0, fanfare.ID("one")), fanfare.ErrDuplicate, "while it runs")
		close(release)
		eventually(t, func() bool { return o.stats(d).Handled == 1 }, "handled")
		require.ErrorIs(t, topic.Dispatch(t.Context(), d, 0, fanfare.ID("one")), fanfare.ErrDuplicate, "within the window")
		require.NoError(t, topic.Dispatch(t.Context(), d, 0, fanfare.ID("two")))
		other := fanfare.NewTopic[int](t.Name() + "other")
		_, err = other.Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err)
		require.NoError(t, other.Dispatch(t.Context(), d, 0, fanfare.ID("one")), "ids belong to a topic")
		require.Len(t, got.wait(t, 2), 2)
	})
}

func TestCancelIsTruthful(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t).(keyed)
		topic, got, release := fanfare.NewTopic[string](t.Name()), newReceived[string](), make(chan struct{})
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error {
			got.add(v)
			if v == "running" {
				<-release
			}
			return nil
		})
		require.NoError(t, err)
		cancel := func(id string) bool {
			ok, err := d.Cancel(t.Context(), topic.Name(), id)
			require.NoError(t, err)
			return ok
		}
		require.NoError(t, topic.Dispatch(t.Context(), d, "waiting", fanfare.ID("a"), fanfare.Delay(150*time.Millisecond)))
		require.NoError(t, topic.Dispatch(t.Context(), d, "running", fanfare.ID("b")))
		got.wait(t, 1)
		require.True(t, cancel("a"))
		require.False(t, cancel("a"), "twice")
		require.False(t, cancel("b"), "while it runs")
		require.False(t, cancel("c"), "unknown")
		require.NoError(t, topic.Dispatch(t.Context(), d, "again", fanfare.ID("a"), fanfare.Delay(150*time.Millisecond)), "a canceled id is free")
		close(release)
		got.wait(t, 2)
		eventually(t, func() bool { return o.stats(d).Handled == 2 }, "handled")
		require.False(t, cancel("b"), "done")
		require.Equal(t, []string{"running", "again"}, got.snapshot())
		require.EqualValues(t, 1, o.stats(d).Cancelled)
	})
}

func TestReschedule(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t).(keyed)
		topic, got := fanfare.NewTopic[int](t.Name()), newReceived[time.Time]()
		_, err := topic.Register(t.Context(), d, func(context.Context, int) error { got.add(time.Now()); return nil })
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1, fanfare.ID("sooner"), fanfare.Delay(time.Hour)))
		at := time.Now().Add(100 * time.Millisecond)
		ok, err := d.Reschedule(t.Context(), topic.Name(), "sooner", at)
		require.NoError(t, err)
		require.True(t, ok)
		require.False(t, got.wait(t, 1)[0].Before(at))
		ok, err = d.Reschedule(t.Context(), topic.Name(), "sooner", at)
		require.NoError(t, err)
		require.False(t, ok, "done")
	})
}

func TestConflicts(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		type run struct {
			value string
			after time.Duration
		}
		topic, got, begin, release := fanfare.NewTopic[string](t.Name()), newReceived[run](), time.Now(), make(chan struct{})
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error {
			got.add(run{v, time.Since(begin)})
			if v == "running" {
				<-release
			}
			return nil
		})
		require.NoError(t, err)
		dispatch := func(v, id string, c fanfare.Conflict, wait time.Duration) error {
			return topic.Dispatch(t.Context(), d, v, fanfare.ID(id), c, fanfare.Delay(wait))
		}
		values := func() (all []string) {
			for _, r := range got.snapshot() {
				all = append(all, r.value)
			}
			return all
		}

		require.NoError(t, dispatch("old", "r", fanfare.KeepFirst, 50*time.Millisecond))
		require.NoError(t, dispatch("new", "r", fanfare.Replace, 200*time.Millisecond))
		require.NoError(t, dispatch("first", "p", fanfare.PushBack, 50*time.Millisecond)) // unknown: as usual
		require.NoError(t, dispatch("not kept", "p", fanfare.PushBack, 300*time.Millisecond))
		require.ErrorIs(t, dispatch("not kept", "p", fanfare.RunAgain, 0), fanfare.ErrDuplicate, "it waits")
		all := got.wait(t, 2)
		require.Equal(t, "new", all[0].value)
		require.GreaterOrEqual(t, all[0].after, 200*time.Millisecond)
		require.Equal(t, "first", all[1].value)
		require.GreaterOrEqual(t, all[1].after, 300*time.Millisecond)

		require.NoError(t, dispatch("running", "a", fanfare.RunAgain, 0))
		got.wait(t, 3)
		require.ErrorIs(t, dispatch("refused", "a", fanfare.Replace, 0), fanfare.ErrDuplicate, "it runs")
		require.ErrorIs(t, dispatch("refused", "a", fanfare.PushBack, 0), fanfare.ErrDuplicate, "it runs")
		require.NoError(t, dispatch("again", "a", fanfare.RunAgain, 0))
		require.ErrorIs(t, dispatch("refused", "a", fanfare.RunAgain, 0), fanfare.ErrDuplicate, "one is kept")
		close(release)
		got.wait(t, 4)
		eventually(t, func() bool { return o.stats(d).Handled == 4 }, "handled")
		require.ErrorIs(t, dispatch("refused", "a", fanfare.KeepFirst, 0), fanfare.ErrDuplicate, "in its window")
		for i, c := range []fanfare.Conflict{fanfare.Replace, fanfare.PushBack, fanfare.RunAgain} {
			require.NoError(t, dispatch(fmt.Sprint("anew", i), "a", c, 0), "it has ended")
			got.wait(t, 5+i)
			eventually(t, func() bool { return o.stats(d).Handled == uint64(5+i) }, "handled")
		}
		require.Equal(t, []string{"new", "first", "running", "again", "anew0", "anew1", "anew2"}, values())
	})
}

func TestHandlersOfOneTopicRetryForThemselves(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic := fanfare.NewTopic[int](t.Name())
		got := map[string]*received[int]{}
		for i, group := range []string{"billing", "shipping", "a:{b} *"} {
			r := newReceived[int]()
			got[group] = r
			_, err := topic.Register(t.Context(), d, func(ctx context.Context, n int) error {
				if info, _ := fanfare.DeliveryFrom(ctx); info.Group != group {
					return fmt.Errorf("group %q", info.Group)
				}
				if r.add(n) <= i {
					return errors.New("not yet")
				}
				return nil
			}, fanfare.Group(group), fanfare.Fixed(20*time.Millisecond))
			require.NoError(t, err)
		}
		_, err := topic.Register(t.Context(), d, func(context.Context, int) error { return nil }, fanfare.Group("billing"))
		require.ErrorIs(t, err, fanfare.ErrGroupTaken)
		require.NoError(t, topic.Dispatch(t.Context(), d, 7))
		eventually(t, func() bool { s := o.stats(d); return s.Handled == 3 && s.Retried == 3 }, "all handled")
		require.Equal(t, []int{7}, got["billing"].snapshot())
		require.Equal(t, []int{7, 7}, got["shipping"].snapshot())
		require.Equal(t, []int{7, 7, 7}, got["a:{b} *"].snapshot())
	})
}

func TestCausationTravelsInHeaders(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		name, got := t.Name(), newReceived[fanfare.Delivery]()
		for i := range 3 {
			topic := fanfare.NewTopic[int](fmt.Sprint(name, i))
			_, err := topic.Register(t.Context(), d, func(ctx context.Context, n int) error {
				info, _ := fanfare.DeliveryFrom(ctx)
				got.add(info)
				if i == 2 {
					return nil
				}
				return fanfare.NewTopic[int](fmt.Sprint(name, i+1)).Dispatch(ctx, d, n)
			})
			require.NoError(t, err)
		}
		require.NoError(t, d.Dispatch(t.Context(), name+"0", 1))
		all := got.wait(t, 3)
		require.Empty(t, all[0].Headers)
		require.Equal(t, map[string]string{fanfare.HeaderCausation: all[0].ID, fanfare.HeaderCorrelation: all[0].ID}, all[1].Headers)
		require.Equal(t, map[string]string{fanfare.HeaderCausation: all[1].ID, fanfare.HeaderCorrelation: all[0].ID}, all[2].Headers)
	})
}

func TestMiddlewareWrapsInOrder(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		calls := newReceived[string]()
		around := func(name string) fanfare.Middleware {
			return func(next fanfare.HandleFunc) fanfare.HandleFunc {
				return func(ctx context.Context, event any) error {
					calls.add(name)
					return next(ctx, event)
				}
			}
		}
		dispatching := func(next fanfare.DispatchFunc) fanfare.DispatchFunc {
			return func(ctx context.Context, topic string, event any) error {
				calls.add("dispatch")
				return next(ctx, topic, fanfare.With(event, fanfare.Header("by", "middleware")))
			}
		}
		d := o.open(t, fanfare.WithMiddleware(around("outer"), around("inner")), fanfare.WithDispatchMiddleware(dispatching))
		topic, got := fanfare.NewTopic[int](t.Name()), newReceived[fanfare.Delivery]()
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			got.add(info)
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		require.Equal(t, "middleware", got.wait(t, 1)[0].Headers["by"])
		require.Equal(t, []string{"dispatch", "outer", "inner"}, calls.snapshot())
	})
}
