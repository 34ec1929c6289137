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

func testLookAtAndManageAQueue(t *testing.T, o opener) {
	d := o.openDurable(t)
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
	ran, release := NewReceived[int](), make(chan struct{})
	defer close(release)
	_, err = topic.Register(t.Context(), d, func(_ context.Context, n int) error {
		ran.Add(n)
		if n == 99 {
			<-release
		}
		return fanfare.Discard(errors.New("not wanted"))
	})
	require.NoError(t, err)
	stays(t, 100*time.Millisecond, func() bool { return len(ran.All()) == 0 }, "paused")
	require.NoError(t, d.Resume(t.Context(), topic.Name()))
	ran.Wait(t, 2)
	Eventually(t, func() bool { s, err := d.Status(t.Context(), topic.Name()); return err == nil && s[0].Dead == 1 }, "dead")
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
	Eventually(t, func() bool {
		s, err := q.Dead(t.Context(), 0, 10)
		return err == nil && len(s) == 1 && len(ran.All()) == 3
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
}

func ids(records []fanfare.Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, r.ID)
	}
	return all
}

func testPurgedRunningEventIsNotSettled(t *testing.T, o opener) {
	d := o.openDurable(t)
	topic, started, causes := fanfare.NewTopic[int](t.Name()), make(chan struct{}, 1), NewReceived[error]()
	_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
		started <- struct{}{}
		<-ctx.Done()
		causes.Add(context.Cause(ctx))
		return ctx.Err()
	}, fanfare.Lease(time.Second))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	<-started
	n, err := d.Queue(topic.Name(), "").Purge(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.ErrorIs(t, causes.Wait(t, 1)[0], fanfare.ErrLeaseLost)
}

func testEventsAreTakenByHand(t *testing.T, o opener) {
	d := o.openDurable(t)
	topic, ctx := fanfare.NewTopic[int](t.Name()), t.Context()
	q := d.Queue(topic.Name(), "")
	take := func(n int) []*fanfare.Claimed {
		t.Helper()
		all, err := q.Claim(ctx, 10, time.Second)
		require.NoError(t, err)
		require.Len(t, all, n)
		return all
	}
	take(0)
	for n := range 4 {
		require.NoError(t, topic.Dispatch(ctx, d, n, fanfare.ID(fmt.Sprint(n))))
	}
	all := take(4)
	for n, c := range all {
		got, err := fanfare.Decode[int](c.Payload)
		require.NoError(t, err)
		require.Equal(t, n, got)
		require.Equal(t, fanfare.Running, c.State)
		require.Equal(t, 1, c.Attempts)
	}
	require.NoError(t, all[0].Ack(ctx))
	require.NoError(t, all[1].Retry(ctx, 0, errors.New("not yet")))
	require.NoError(t, all[2].Release(ctx))
	require.NoError(t, all[3].Bury(ctx, errors.New("no use")))
	dead, err := q.Dead(ctx, 0, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"3"}, ids(dead))
	require.Equal(t, "no use", dead[0].LastError)

	again := take(2)
	require.Equal(t, 1, again[0].Failures)
	require.Equal(t, []int{2, 1}, []int{again[0].Attempts, again[1].Attempts})
	require.Greater(t, again[0].Fence, all[1].Fence)
	require.NoError(t, again[0].Extend(ctx, time.Minute))
	require.NoError(t, again[0].Ack(ctx))
	elsewhere := o.openDurable(t).Queue(topic.Name(), "")
	other, err := elsewhere.Claim(ctx, 10, time.Second)
	require.NoError(t, err)
	require.Empty(t, other, "it is taken")
	Eventually(t, func() bool { // its lease runs out
		other, err = elsewhere.Claim(ctx, 10, time.Minute)
		return err == nil && len(other) == 1
	}, "taken over")
	require.ErrorIs(t, again[1].Ack(ctx), fanfare.ErrLeaseLost)
	require.ErrorIs(t, again[1].Extend(ctx, time.Minute), fanfare.ErrLeaseLost)
	require.NoError(t, other[0].Ack(ctx))

	_, err = q.Claim(ctx, 0, time.Second)
	require.ErrorIs(t, err, fanfare.ErrInvalid)
	_, err = q.Claim(ctx, 1, time.Millisecond)
	require.ErrorIs(t, err, fanfare.ErrInvalid)
}
