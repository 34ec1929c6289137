package fanfare_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/drivertest"
)

func ExampleNew() {
	// The reference broker keeps events in memory: good for tests of services
	// that use a durable dispatcher in production.
	d, err := fanfare.New(drivertest.NewMemory())
	check(err)
	check(OrderPaid.Dispatch(context.Background(), d, Order{ID: 7}))
	fmt.Println(d.Capabilities().DeadLetters)
	// Output: true
}

func ExampleRedigoPool() {
	server, err := miniredis.Run()
	check(err)
	defer server.Close()

	pool := &redis.Pool{DialContext: func(ctx context.Context) (redis.Conn, error) {
		return redis.DialContext(ctx, "tcp", server.Addr())
	}}
	defer pool.Close()
	d, err := fanfare.NewRedis(fanfare.RedigoPool(pool))
	check(err)
	fmt.Println(OrderPaid.Dispatch(context.Background(), d, Order{ID: 7}))
	// Output: <nil>
}

func ExampleRegistration() {
	ctx, d := context.Background(), newLocal()
	first, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error { fmt.Println("first"); return nil })
	check(err)
	_, err = OrderPaid.Register(ctx, d, func(context.Context, Order) error { fmt.Println("second"); return nil })
	check(err)
	check(d.Remove(ctx, first)) // exactly that one
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	check(d.Stop(ctx))
	// Output: second
}

func ExampleWithContext() {
	ctx, end := context.WithCancel(context.Background()) // in main: signal.NotifyContext
	d := newLocal(fanfare.WithContext(ctx, 10*time.Second))
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error { fmt.Println("handled"); return nil })
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	end()
	fmt.Println(d.Stop(context.Background())) // waits for the same end
	// Output:
	// handled
	// <nil>
}

func ExampleWithMaxQueued() {
	ctx, d, gate := context.Background(), newLocal(fanfare.WithMaxQueued(1)), make(chan bool)
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error { <-gate; return nil })
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 1}))
	err = OrderPaid.Dispatch(ctx, d, Order{ID: 2}) // does not wait
	fmt.Println(errors.Is(err, fanfare.ErrMaxQueuedEventsReached))
	close(gate)
	check(d.Stop(ctx))
	// Output: true
}

func ExampleWithLogger() {
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	ctx, died := context.Background(), make(chan bool)
	d := newDurable(
		fanfare.WithLogger(slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: plain}))),
		fanfare.WithObserver(fanfare.Observer{Dead: func(fanfare.Observation) { close(died) }}),
	)
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error { return errors.New("out of paper") }, fanfare.MaxAttempts(1))
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}, fanfare.ID("order:7")))
	<-died
	check(d.Stop(ctx))
	// Output: level=ERROR msg="fanfare: event is dead" topic=order.paid group=default event_id=order:7 attempt=1 reason=exhausted error="out of paper"
}

// xmlCodec is a Codec in a few lines.
type xmlCodec struct{}

func (xmlCodec) Name() string                       { return "application/xml" }
func (xmlCodec) Marshal(v any) ([]byte, error)      { return xml.Marshal(v) }
func (xmlCodec) Unmarshal(data []byte, v any) error { return xml.Unmarshal(data, v) }

func ExampleWithCodec() {
	ctx, d := context.Background(), newDurable(fanfare.WithCodec(xmlCodec{}))
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	next, err := d.Queue(OrderPaid.Name(), "").Peek(ctx, 0, 1)
	check(err)
	o, err := fanfare.Decode[Order](next[0].Payload)
	fmt.Println(next[0].Payload.ContentType(), o.ID, err)
	// Output: application/xml 7 <nil>
}

func ExampleRetryAt() {
	tomorrow := time.Date(2030, 1, 2, 8, 0, 0, 0, time.UTC)
	fmt.Println(fanfare.RetryAt(tomorrow, errors.New("the office is closed"))) // what a handler returns
	// Output: retry at 2030-01-02T08:00:00Z: the office is closed
}

func ExamplePanicError() {
	ctx := context.Background()
	d := newLocal(fanfare.WithOnDrop(func(e fanfare.Dropped) {
		var p *fanfare.PanicError
		fmt.Println(errors.As(e.Err, &p), e.Err, len(p.Stack) > 0)
	}))
	_, err := OrderPaid.Register(ctx, d, func(context.Context, Order) error { panic("ouch") }, fanfare.MaxAttempts(1))
	check(err)
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 7}))
	check(d.Stop(ctx))
	// Output: true handler panicked: ouch true
}

func ExampleBatchError() {
	ctx, d := context.Background(), newDurable()
	err := d.DispatchBatch(ctx, "order.paid", []any{
		fanfare.With(Order{ID: 1}, fanfare.ID("order:1")),
		fanfare.With(Order{ID: 1}, fanfare.ID("order:1")),
	})
	var batch *fanfare.BatchError
	if errors.As(err, &batch) {
		fmt.Println(batch.Errs[0], errors.Is(batch.Errs[1], fanfare.ErrDuplicate))
	}
	// Output: <nil> true
}

func ExampleQueue_Peek() {
	ctx, d := context.Background(), newDurable()
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 1}, fanfare.ID("first")))
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 2}, fanfare.ID("last"), fanfare.Delay(time.Hour)))
	orders := d.Queue(OrderPaid.Name(), "")
	next, err := orders.Peek(ctx, 0, 1)
	check(err)
	last, err := orders.Peek(ctx, -1, 1)
	check(err)
	fmt.Println(next[0].ID, next[0].State, last[0].ID, last[0].State)
	// Output: first ready last delayed
}

func ExampleDurable_Status() {
	ctx, d := context.Background(), newDurable()
	check(OrderPaid.Dispatch(ctx, d, Order{ID: 1}))
	check(PaymentCheck.Dispatch(ctx, d, Order{ID: 1}, fanfare.Delay(time.Hour)))
	all, err := d.Status(ctx) // of all topics
	check(err)
	for _, s := range all {
		fmt.Println(s.Topic, s.Group, s.Ready, s.Delayed, s.Running, s.Dead)
	}
	// Output:
	// order.paid default 1 0 0 0
	// order.payment-check default 0 1 0 0
}

func ExampleLocal_Cancel() {
	ctx, d := context.Background(), newLocal()
	_, err := PaymentCheck.Register(ctx, d, func(context.Context, Order) error { return nil })
	check(err)
	check(PaymentCheck.Dispatch(ctx, d, Order{ID: 7}, fanfare.ID("order:7"), fanfare.Delay(time.Hour)))
	fmt.Println(d.Cancel(ctx, PaymentCheck.Name(), "order:7"))
	check(d.Stop(ctx))
	// Output: true <nil>
}
