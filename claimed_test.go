package fanfare_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare"
)

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
