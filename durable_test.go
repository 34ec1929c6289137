package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
)

// durably runs test on every durable dispatcher.
func durably(t *testing.T, test func(t *testing.T, d *fanfare.Durable, o opener)) {
	behaves(t, func(t *testing.T, o opener) {
		if o.durable {
			test(t, o.open(t).(*fanfare.Durable), o)
		}
	})
}

func TestEventsWaitForAGroup(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, o opener) {
		topic := fanfare.NewTopic[int](t.Name())
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		got := newReceived[int]()
		other := o.again(t, d)
		_, err := topic.Register(t.Context(), other, func(_ context.Context, n int) error { got.add(n); return nil })
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 2))
		require.ElementsMatch(t, []int{1, 2}, got.wait(t, 2))
	})
}

func TestEveryGroupGetsItsCopyAndSharesItsWork(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, o opener) {
		topic := fanfare.NewTopic[int](t.Name())
		got := map[string]*received[int]{"billing": newReceived[int](), "shipping": newReceived[int]()}
		for group, r := range got {
			for range 2 {
				_, err := topic.Register(t.Context(), o.again(t, d), func(_ context.Context, n int) error { r.add(n); return nil }, fanfare.Group(group))
				require.NoError(t, err)
			}
		}
		require.NoError(t, d.Queue(topic.Name(), "later").Create(t.Context()))
		for n := range 100 {
			require.NoError(t, topic.Dispatch(t.Context(), d, n))
		}
		for group, r := range got {
			seen := map[int]int{}
			for _, n := range r.wait(t, 100) {
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
	})
}

func TestDispatchBatch(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, _ opener) {
		topic, got := fanfare.NewTopic[int](t.Name()), newReceived[int]()
		numbers := make([]int, 1500)
		for i := range numbers {
			numbers[i] = i
		}
		require.NoError(t, topic.DispatchBatch(t.Context(), d, numbers, fanfare.Priority(fanfare.High)))
		_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.add(n); return nil })
		require.NoError(t, err)
		seen := map[int]bool{}
		for _, n := range got.wait(t, 1500) {
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
	})
}

func TestTooLargeIsRefused(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, o opener) {
		err := d.Dispatch(t.Context(), t.Name(), make([]byte, 2<<20))
		require.ErrorIs(t, err, fanfare.ErrTooLarge)
		small := o.again(t, d, fanfare.WithMaxPayload(2000))
		require.ErrorIs(t, small.Dispatch(t.Context(), t.Name(), make([]byte, 2000)), fanfare.ErrTooLarge)
		require.NoError(t, small.Dispatch(t.Context(), t.Name(), make([]byte, 1900)))
	})
}

func TestOnlyDispatchingStartsNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	d, err := fanfare.New(drivertest.NewMemory())
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), d, 1))
	l, err := fanfare.NewLocal()
	require.NoError(t, err)
	require.ErrorIs(t, number.Dispatch(t.Context(), l, 1), fanfare.ErrNoHandlerFound)
	require.NoError(t, goleak.Find(before))
}

func TestUnencodableIsRefused(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, _ opener) {
		require.ErrorContains(t, d.Dispatch(t.Context(), t.Name(), func() {}), "encode func()")
	})
}

func TestLookAtAndManageAQueue(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, o opener) {
		topic := fanfare.NewTopic[int](t.Name())
		q := d.Queue(topic.Name(), "")
		begin := time.Now()
		for n := range 5 {
			require.NoError(t, topic.Dispatch(t.Context(), d, n, fanfare.ID(fmt.Sprint(n)), fanfare.Delay(time.Duration(n)*time.Hour), fanfare.Header("n", fmt.Sprint(n))))
		}
		require.NoError(t, topic.Dispatch(t.Context(), d, 99, fanfare.ID("urgent"), fanfare.High))

		next, err := q.Peek(t.Context(), 0, 3)
		require.NoError(t, err)
		require.Equal(t, []string{"urgent", "0", "1"}, ids(next))
		last, err := q.Peek(t.Context(), -1, 1)
		require.NoError(t, err)
		require.Equal(t, []string{"4"}, ids(last))
		page, err := q.Peek(t.Context(), 2, 2)
		require.NoError(t, err)
		require.Equal(t, []string{"1", "2"}, ids(page))
		require.Equal(t, fanfare.Delayed, page[0].State)
		require.WithinDuration(t, begin.Add(time.Hour), page[0].Time, 10*time.Second)
		require.Equal(t, map[string]string{"n": "1"}, page[0].Headers)
		n, err := fanfare.Decode[int](page[0].Payload)
		require.NoError(t, err)
		require.Equal(t, 1, n)

		all, err := d.Status(t.Context(), topic.Name())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, []int{2, 4, 0, 0, 0}, []int{all[0].Ready, all[0].Delayed, all[0].Running, all[0].Dead, all[0].Consumers})
		require.Positive(t, all[0].OldestDue+1)
		whole, err := d.Status(t.Context())
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(whole), topic.Name())

		require.NoError(t, d.Pause(t.Context(), topic.Name()))
		ran, release := newReceived[int](), make(chan struct{})
		defer close(release)
		_, err = topic.Register(t.Context(), d, func(_ context.Context, n int) error {
			ran.add(n)
			if n == 99 {
				<-release
			}
			return fanfare.Discard(errors.New("not wanted"))
		})
		require.NoError(t, err)
		stays(t, 100*time.Millisecond, func() bool { return len(ran.snapshot()) == 0 }, "paused")
		require.NoError(t, d.Resume(t.Context(), topic.Name()))
		ran.wait(t, 2)
		eventually(t, func() bool { s, err := d.Status(t.Context(), topic.Name()); return err == nil && s[0].Dead == 1 }, "dead")
		running, err := q.Running(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"urgent"}, ids(running))
		record, err := d.Get(t.Context(), topic.Name(), "urgent")
		require.NoError(t, err)
		require.Equal(t, fanfare.Running, record[0].State)
		require.Equal(t, 1, record[0].Attempts)

		letters, err := q.Dead(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"0"}, ids(letters))
		require.Equal(t, "discarded: not wanted", letters[0].LastError)
		require.NoError(t, q.Requeue(t.Context(), "0"))
		eventually(t, func() bool {
			s, err := q.Dead(t.Context(), 0, 10)
			return err == nil && len(s) == 1 && len(ran.snapshot()) == 3
		}, "dead again")
		require.ErrorIs(t, q.Requeue(t.Context(), "nobody"), fanfare.ErrNotFound)
		gone, err := q.DeleteDead(t.Context(), "0", "nobody")
		require.NoError(t, err)
		require.Equal(t, 1, gone)

		purged, err := d.Purge(t.Context(), topic.Name())
		require.NoError(t, err)
		require.Equal(t, 5, purged)
		_, err = d.Get(t.Context(), topic.Name(), "3")
		require.ErrorIs(t, err, fanfare.ErrNotFound)
		_, err = q.Peek(t.Context(), 0, 0)
		require.ErrorIs(t, err, fanfare.ErrInvalid)
	})
}

func ids(records []fanfare.Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, r.ID)
	}
	return all
}

func TestPurgedRunningEventIsNotSettled(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, _ opener) {
		topic, started, causes := fanfare.NewTopic[int](t.Name()), make(chan struct{}, 1), newReceived[error]()
		_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			started <- struct{}{}
			<-ctx.Done()
			causes.add(context.Cause(ctx))
			return ctx.Err()
		}, fanfare.Lease(time.Second))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		<-started
		n, err := d.Queue(topic.Name(), "").Purge(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.ErrorIs(t, causes.wait(t, 1)[0], fanfare.ErrLeaseLost)
	})
}

func TestHealth(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, o opener) {
		require.NoError(t, d.Health(t.Context()))
		sick := o.again(t, d, fanfare.WithUnhealthyAfter(50*time.Millisecond))
		topic, release := fanfare.NewTopic[int](t.Name()), make(chan struct{})
		_, err := topic.Register(t.Context(), sick, func(context.Context, int) error { <-release; return nil }, fanfare.Concurrency(1))
		require.NoError(t, err)
		require.NoError(t, sick.Health(t.Context()))
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		require.NoError(t, topic.Dispatch(t.Context(), d, 2))
		eventually(t, func() bool { return errors.Is(sick.Health(t.Context()), fanfare.ErrUnhealthy) }, "unhealthy")
		require.NoError(t, d.Health(t.Context()), "not its topic")
		close(release)
		eventually(t, func() bool { return sick.Health(t.Context()) == nil }, "healthy again")
	})
}

// plain hides the optional abilities of a broker.
type plain struct{ driver.Broker }

func TestWhatABackendLacksIsATypedError(t *testing.T) {
	d, err := fanfare.New(plain{drivertest.NewMemory()})
	require.NoError(t, err)
	q, ctx := d.Queue("t", ""), t.Context()
	for name, call := range map[string]func() error{
		"Cancel":     func() error { _, err := d.Cancel(ctx, "t", "x"); return err },
		"Reschedule": func() error { _, err := d.Reschedule(ctx, "t", "x", time.Now()); return err },
		"Get":        func() error { _, err := d.Get(ctx, "t", "x"); return err },
		"Status":     func() error { _, err := d.Status(ctx); return err },
		"Purge":      func() error { _, err := q.Purge(ctx); return err },
		"Peek":       func() error { _, err := q.Peek(ctx, 0, 1); return err },
		"Requeue":    func() error { return q.Requeue(ctx, "x") },
		"DeleteDead": func() error { _, err := q.DeleteDead(ctx, "x"); return err },
		"Pause":      func() error { return q.Pause(ctx) },
		"Resume":     func() error { return d.Resume(ctx, "t") },
	} {
		require.ErrorIs(t, call(), fanfare.ErrUnsupported, name)
	}
	c := d.Capabilities()
	require.False(t, c.Cancel || c.Inspect || c.DeadLetters || c.Purge || c.Pause || c.Synchronous)
	require.True(t, c.Durable == plain{drivertest.NewMemory()}.Capabilities().Durable && c.UniqueID)
}

func TestErrorsShowNoPayload(t *testing.T) {
	const secret = "canary-4711"
	durably(t, func(t *testing.T, d *fanfare.Durable, _ opener) {
		topic := fanfare.NewTopic[map[string]string](t.Name())
		require.NoError(t, topic.Dispatch(t.Context(), d, map[string]string{"password": secret}, fanfare.ID("x"), fanfare.Delay(time.Hour)))
		err := topic.Dispatch(t.Context(), fanfare.Fanout{d}, map[string]string{"password": secret}, fanfare.ID("x"), fanfare.Header("h", secret))
		record, getErr := d.Get(t.Context(), topic.Name(), "x")
		require.NoError(t, getErr)
		for _, shown := range []string{fmt.Sprintf("%v %+v %#v", err, err, err.Error()), fmt.Sprintf("%v %+v", record, record)} {
			require.False(t, strings.Contains(shown, secret), shown)
		}
	})
}
