package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func TestEventsAreTakenByHand(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, o opener) {
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
		other, err := o.again(t, d).Queue(topic.Name(), "").Claim(ctx, 10, time.Second)
		require.NoError(t, err)
		require.Empty(t, other, "it is taken")
		eventually(t, func() bool { // its lease runs out
			other, err = o.again(t, d).Queue(topic.Name(), "").Claim(ctx, 10, time.Minute)
			return err == nil && len(other) == 1
		}, "taken over")
		require.ErrorIs(t, again[1].Ack(ctx), fanfare.ErrLeaseLost)
		require.ErrorIs(t, again[1].Extend(ctx, time.Minute), fanfare.ErrLeaseLost)
		require.NoError(t, other[0].Ack(ctx))

		_, err = q.Claim(ctx, 0, time.Second)
		require.ErrorIs(t, err, fanfare.ErrInvalid)
		_, err = q.Claim(ctx, 1, time.Millisecond)
		require.ErrorIs(t, err, fanfare.ErrInvalid)
	})
}

func ExampleQueue_Claim() {
	ctx, d := context.Background(), newDurable()
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	taken, err := d.Queue(OrderPaid.Name(), "").Claim(ctx, 10, time.Minute)
	check(err)
	for _, c := range taken {
		o, err := fanfare.Decode[Order](c.Payload)
		check(err)
		fmt.Println(o.ID, c.Attempts, c.Ack(ctx))
	}
	// Output: 7 1 <nil>
}

func ExampleContextWithDelivery() {
	handle := func(ctx context.Context, o Order) error {
		if info, _ := fanfare.DeliveryFrom(ctx); info.Attempt > 1 {
			fmt.Println("order", o.ID, "once more")
		}
		return nil
	}
	ctx := fanfare.ContextWithDelivery(context.Background(), fanfare.Delivery{Attempt: 2})
	check(handle(ctx, Order{ID: 7}))
	// Output: order 7 once more
}
