package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/drivertest"
)

// Order is the event of the examples.
type Order struct {
	ID    int
	Email string
}

var (
	OrderPaid    = fanfare.NewTopic[Order]("order.paid")
	PaymentCheck = fanfare.NewTopic[Order]("order.payment-check")
)

// check ends an example that fails.
func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}

// newLocal and newDurable shorten the examples; newDurable stands for OpenRedis.
func newLocal(opts ...fanfare.Option) *fanfare.Local {
	d, err := fanfare.NewLocal(opts...)
	check(err)
	return d
}

func newDurable(opts ...fanfare.Option) *fanfare.Durable {
	d, err := fanfare.New(drivertest.NewMemory(), opts...)
	check(err)
	return d
}

func Example() {
	ctx := context.Background()
	d, err := fanfare.NewLocal()
	check(err)
	_, err = OrderPaid.Register(ctx, d, func(_ context.Context, o Order) error {
		fmt.Println("receipt to", o.Email)
		return nil
	})
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{7, "ann@example.org"}))
	check(d.Stop(ctx)) // handles what is due before it returns
	// Output: receipt to ann@example.org
}

func ExampleOpenRedis() {
	server, err := miniredis.Run() // in production: redis://user:password@host:6379/0
	check(err)
	defer server.Close()

	ctx := context.Background()
	d, err := fanfare.OpenRedis(server.Addr(), fanfare.WithPrefix("shop"))
	check(err)
	handled := make(chan Order)
	_, err = OrderPaid.Register(ctx, d, func(_ context.Context, o Order) error {
		handled <- o
		return nil
	}, fanfare.Group("billing"))
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{7, "ann@example.org"}))
	fmt.Println((<-handled).Email)
	check(d.Stop(ctx))
	// Output: ann@example.org
}

func ExampleNewRedis() {
	server, err := miniredis.Run()
	check(err)
	defer server.Close()

	client, err := fanfare.DialRedis("redis://" + server.Addr()) // or RedigoPool, or an adapter of your own
	check(err)
	defer client.Close()
	d, err := fanfare.NewRedis(client)
	check(err)
	check(d.Dispatch(context.Background(), "order.paid", Order{ID: 7}))
	check(d.Stop(context.Background()))
	fmt.Println(d.Stats().Dispatched)
	// Output: 1
}

func ExampleDispatch() {
	ctx, local, redis := context.Background(), newLocal(), newDurable()
	_, err := OrderPaid.Register(ctx, local, func(_ context.Context, o Order) error {
		fmt.Println("in process:", o.ID)
		return nil
	})
	check(err)
	check(fanfare.Dispatch(ctx, "order.paid", Order{ID: 7}, local, redis))
	check(errors.Join(local.Stop(ctx), redis.Stop(ctx)))
	// Output: in process: 7
}

func ExampleFanoutError() {
	ctx, local, redis := context.Background(), newLocal(), newDurable()
	event := fanfare.With(Order{ID: 7}, fanfare.ID("order:7"))
	err := fanfare.Dispatch(ctx, "order.paid", event, local, redis)

	var failed *fanfare.FanoutError
	if errors.As(err, &failed) {
		for _, o := range failed.Outcomes {
			fmt.Println(o.Status, o.Err)
		}
	}

	_, err = OrderPaid.Register(ctx, local, func(_ context.Context, o Order) error { return nil })
	check(err)
	fmt.Println(failed.Redispatch(ctx)) // to local only
	check(errors.Join(local.Stop(ctx), redis.Stop(ctx)))
	// Output:
	// rejected topic order.paid: no handler found
	// accepted <nil>
	// <nil>
}

func ExampleFanout() {
	ctx, everywhere := context.Background(), fanfare.Fanout{newDurable(), newDurable()}
	fmt.Println(OrderPaid.Dispatch(ctx, everywhere, Order{ID: 7}, fanfare.Delay(time.Hour)))
	// Output: <nil>
}

func ExampleWith() {
	ctx, d := context.Background(), newDurable()
	event := fanfare.With(Order{ID: 7},
		fanfare.ID("order:7:payment"), // to find it again
		fanfare.Delay(15*time.Minute), // or At, an instant
		fanfare.High,
		fanfare.MaxAttempts(3),
		fanfare.Header("tenant", "acme"),
	)
	check(d.Dispatch(ctx, "order.payment-check", event))
	fmt.Println(d.Cancel(ctx, "order.payment-check", "order:7:payment"))
	// Output: true <nil>
}

func ExampleID() {
	ctx, d := context.Background(), newDurable()
	for range 2 {
		err := PaymentCheck.Dispatch(ctx, d, Order{ID: 7}, fanfare.ID("order:7"), fanfare.Delay(time.Hour))
		fmt.Println(errors.Is(err, fanfare.ErrDuplicate))
	}
	// Output:
	// false
	// true
}

func ExampleAt() {
	ctx, d := context.Background(), newDurable()
	newYear := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	check(PaymentCheck.Dispatch(ctx, d, Order{ID: 7}, fanfare.At(newYear)))
	next, err := d.Queue(PaymentCheck.Name(), "").Peek(ctx, 0, 1)
	check(err)
	fmt.Println(next[0].State, next[0].Time.UTC())
	// Output: delayed 2030-01-01 00:00:00 +0000 UTC
}

func ExampleConflict() {
	ctx, d := context.Background(), newDurable()
	for version := range 3 { // the last version is the one that is handled
		check(OrderPaid.Dispatch(ctx, d, Order{ID: version}, fanfare.ID("order"), fanfare.Delay(time.Minute), fanfare.Replace))
	}
	all, err := d.Get(ctx, OrderPaid.Name(), "order")
	check(err)
	o, err := fanfare.Decode[Order](all[0].Payload)
	fmt.Println(o.ID, err)
	// Output: 2 <nil>
}

func ExamplePriority() {
	ctx, d := context.Background(), newDurable()
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 1}, fanfare.Low))
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 2}))
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 3}, fanfare.High))
	waiting, err := d.Queue(OrderPaid.Name(), "").Peek(ctx, 0, 3)
	check(err)
	for _, r := range waiting {
		o, err := fanfare.Decode[Order](r.Payload)
		fmt.Println(o.ID, err)
	}
	// Output:
	// 3 <nil>
	// 2 <nil>
	// 1 <nil>
}

// Reminder says itself how long it waits.
type Reminder struct{ In time.Duration }

func (r Reminder) Delayed() time.Duration { return r.In }

func ExampleDelayedEvent() {
	ctx, d := context.Background(), newDurable()
	check(d.Dispatch(ctx, "reminder", Reminder{In: time.Hour}))
	status, err := d.Status(ctx, "reminder")
	check(err)
	fmt.Println(status[0].Ready, status[0].Delayed)
	// Output: 0 1
}

func ExampleDeliveryFrom() {
	ctx, d := context.Background(), newLocal()
	_, err := OrderPaid.Register(ctx, d, func(ctx context.Context, o Order) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		fmt.Println(info.ID, info.Topic, info.Attempt, info.Headers["tenant"])
		return nil
	})
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}, fanfare.ID("order:7"), fanfare.Header("tenant", "acme")))
	check(d.Stop(ctx))
	// Output: order:7 order.paid 1 acme
}

func ExampleRetryIn() {
	ctx, d, done := context.Background(), newDurable(), make(chan bool)
	_, err := OrderPaid.Register(ctx, d, func(ctx context.Context, o Order) error {
		if info, _ := fanfare.DeliveryFrom(ctx); info.Attempt == 1 {
			return fanfare.RetryIn(10*time.Millisecond, errors.New("the bank asks us to wait"))
		}
		close(done)
		return nil
	})
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	<-done
	check(d.Stop(ctx))
	fmt.Println(d.Stats().Retried, d.Stats().Handled)
	// Output: 1 1
}

func ExampleDiscard() {
	ctx, d := context.Background(), newLocal(fanfare.WithOnDrop(func(e fanfare.Dropped) {
		fmt.Println(e.Reason, e.Err)
	}))
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error {
		return fanfare.Discard(errors.New("no such customer")) // trying again would not help
	})
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	check(d.Stop(ctx))
	// Output: discarded discarded: no such customer
}

func ExampleExponential() {
	backoff := fanfare.Exponential(time.Second, time.Minute, 0)
	for n := 1; n <= 8; n++ {
		fmt.Print(backoff(n), " ")
	}
	// Output: 1s 2s 4s 8s 16s 32s 1m0s 1m0s
}

func ExampleGroup() {
	ctx, d := context.Background(), newDurable()
	done := make(chan string)
	for _, service := range []string{"billing", "shipping"} {
		_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error {
			done <- service
			return nil
		}, fanfare.Group(service), fanfare.Concurrency(4), fanfare.MaxAttempts(10),
			fanfare.Timeout(time.Minute), fanfare.Lease(10*time.Second), fanfare.Fixed(time.Second))
		check(err)
	}
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	fmt.Println(<-done)
	fmt.Println(<-done)
	check(d.Stop(ctx))
	// Unordered output:
	// billing
	// shipping
}

func ExampleSynchronous() {
	ctx, d := context.Background(), newLocal()
	_, err := OrderPaid.Register(ctx, d, func(_ context.Context, o Order) error {
		return errors.New("out of stock")
	}, fanfare.Synchronous())
	check(err)
	fmt.Println(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	check(d.Stop(ctx))
	// Output: out of stock
}

func ExampleAtMostOnce() {
	ctx, d, done := context.Background(), newDurable(), make(chan bool)
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error {
		defer close(done)
		return errors.New("lost for good")
	}, fanfare.AtMostOnce())
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	<-done
	check(d.Stop(ctx))
	fmt.Println(d.Stats().Dead)
	// Output: 1
}

func ExampleDecode() {
	ctx, d := context.Background(), newLocal()
	_, err := d.Register(ctx, "order.paid", fanfare.HandleFunc(func(_ context.Context, event any) error {
		o, err := fanfare.Decode[struct{ Email string }](event) // whatever fits
		fmt.Println(o.Email)
		return err
	}))
	check(err)
	check(d.Dispatch(ctx, "order.paid", Order{7, "ann@example.org"}))
	check(d.Stop(ctx))
	// Output: ann@example.org
}
