package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare"
)

func ExampleDurable_DispatchBatch() {
	ctx, d := context.Background(), newDurable()
	check(OrderPaid.DispatchBatch(ctx, d, []Order{{ID: 1}, {ID: 2}, {ID: 3}}))
	status, err := d.Status(ctx, OrderPaid.Name())
	check(err)
	fmt.Println(status[0].Ready)
	// Output: 3
}

func ExampleDurable_Reschedule() {
	ctx, d := context.Background(), newDurable()
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}, fanfare.ID("order:7"), fanfare.Delay(time.Hour)))
	fmt.Println(d.Reschedule(ctx, OrderPaid.Name(), "order:7", time.Now().Add(2*time.Hour)))
	// Output: true <nil>
}

func ExampleQueue_Requeue() {
	ctx, died, paper, handled := context.Background(), make(chan bool), make(chan bool, 1), make(chan bool)
	d := newDurable(fanfare.WithObserver(fanfare.Observer{Dead: func(fanfare.Observation) { close(died) }}))
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error {
		select {
		case <-paper:
			close(handled)
			return nil
		default:
			return errors.New("out of paper")
		}
	}, fanfare.MaxAttempts(1))
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}, fanfare.ID("order:7")))
	<-died

	orders := d.Queue(OrderPaid.Name(), "")
	dead, err := orders.Dead(ctx, 0, 10)
	check(err)
	fmt.Println(dead[0].ID, dead[0].Reason, dead[0].LastError)
	paper <- true
	check(orders.Requeue(ctx, dead[0].ID))
	<-handled
	check(d.Stop(ctx))
	// Output: order:7 exhausted out of paper
}

func ExampleQueue_Pause() {
	ctx, d := context.Background(), newDurable()
	billing := d.Queue(OrderPaid.Name(), "billing")
	check(billing.Create(ctx)) // events are kept for it from now on
	check(billing.Pause(ctx))
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	status, err := d.Status(ctx, OrderPaid.Name())
	check(err)
	fmt.Println(status[0].Group, status[0].Ready, status[0].Paused)
	check(billing.Resume(ctx))
	fmt.Println(billing.Purge(ctx))
	check(billing.Delete(ctx))
	// Output:
	// billing 1 true
	// 1 <nil>
}

func ExampleDurable_Health() {
	d := newDurable(fanfare.WithUnhealthyAfter(time.Minute))
	fmt.Println(d.Health(context.Background())) // for a readiness probe
	// Output: <nil>
}

func ExampleWithMiddleware() {
	ctx := context.Background()
	d := newLocal(fanfare.WithMiddleware(func(next fanfare.HandleFunc) fanfare.HandleFunc {
		return func(ctx context.Context, event any) error {
			fmt.Println("before")
			defer fmt.Println("after")
			return next(ctx, event)
		}
	}))
	_, err := OrderPaid.Register(ctx, d, func(_ context.Context, o Order) error {
		fmt.Println("order", o.ID)
		return nil
	})
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	check(d.Stop(ctx))
	// Output:
	// before
	// order 7
	// after
}

func ExampleWithDispatchMiddleware() {
	d := newDurable(fanfare.WithDispatchMiddleware(func(next fanfare.DispatchFunc) fanfare.DispatchFunc {
		return func(ctx context.Context, topic string, event any) error {
			return next(ctx, topic, fanfare.With(event, fanfare.Header("region", "eu")))
		}
	}))
	check(OrderPaid.Dispatch(context.Background(), d, Order{ID: 7}))
	next, err := d.Queue(OrderPaid.Name(), "").Peek(context.Background(), 0, 1)
	check(err)
	fmt.Println(next[0].Headers)
	// Output: map[region:eu]
}

func ExampleObserver() {
	ctx := context.Background()
	d := newLocal(fanfare.WithObserver(fanfare.Observer{
		Finished: func(o fanfare.Observation) { fmt.Println(o.Topic, o.Attempt, o.Err, o.Duration > 0) },
	}))
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error { return nil })
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	check(d.Stop(ctx))
	fmt.Println(d.Stats().Handled)
	// Output:
	// order.paid 1 <nil> true
	// 1
}

func ExampleStopError() {
	ctx, d := context.Background(), newLocal()
	_, err := PaymentCheck.Register(ctx, d, func(context.Context, Order) error { return nil })
	check(err)
	check(PaymentCheck.Dispatch(ctx, d, Order{ID: 7}, fanfare.Delay(time.Hour)))
	var left *fanfare.StopError
	if errors.As(d.Stop(ctx), &left) {
		fmt.Println(left.Dropped, "delayed event is lost: in process nothing outlives the process")
	}
	// Output: 1 delayed event is lost: in process nothing outlives the process
}
