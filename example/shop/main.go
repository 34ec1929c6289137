// Shop plays a small shop on fanfare: in process, and on Redis (an embedded one,
// or the server that REDIS_URL names). It prints what happens as it happens, and
// exits with 1 if anything that should have happened did not.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fanfare-go/fanfare"
)

type Order struct {
	ID    int64
	Email string
	Cents int64
}

// A topic is declared once, with the type of its events.
var (
	OrderPlaced  = fanfare.NewTopic[Order]("order.placed")
	OrderPaid    = fanfare.NewTopic[Order]("order.paid")
	PaymentCheck = fanfare.NewTopic[Order]("order.payment-check")
	Invoice      = fanfare.NewTopic[Order]("order.invoice")
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	address, where := os.Getenv("REDIS_URL"), "the server of REDIS_URL"
	if address == "" {
		embedded, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer embedded.Close()
		address, where = embedded.Addr(), "an embedded miniredis"
	}

	// Two dispatchers: one in this process, one that keeps events in Redis. The
	// prefix keeps two shops on one server apart.
	local, err := fanfare.NewLocal()
	if err != nil {
		return err
	}
	redis, err := fanfare.OpenRedis(address, fanfare.WithPrefix("shop:"+fanfare.NewID()))
	if err != nil {
		return err
	}
	s := &shop{timeline: newTimeline(), local: local, redis: redis}
	s.say("the shop opens, with Redis on %s", where)
	if err := errors.Join(s.register(ctx), s.sell(ctx)); err != nil {
		return err
	}
	if err := s.wait(ctx); err != nil {
		return err
	}
	if err := s.reviveInvoice(ctx); err != nil {
		return err
	}

	// Stop finishes what runs and what is due. The queues of this run are
	// removed first, because nobody will ever handle them again.
	err = errors.Join(s.cleanUp(ctx), redis.Stop(ctx), local.Stop(ctx))
	s.summary(local.Stats(), redis.Stats())
	return cmp.Or(err, s.missing())
}

type shop struct {
	*timeline
	local *fanfare.Local
	redis *fanfare.Durable
}

// register says who handles what. A handler is a function of the event; what it
// returns decides: nil is done, an error is tried again.
func (s *shop) register(ctx context.Context) error {
	// In process every handler of a topic gets every event.
	_, err1 := OrderPlaced.Register(ctx, s.local, func(_ context.Context, o Order) error {
		s.step("receipt", "receipt for order %d sent", o.ID)
		return nil
	})
	_, err2 := OrderPlaced.Register(ctx, s.local, func(_ context.Context, o Order) error {
		s.step("stock", "stock for order %d reserved", o.ID)
		return nil
	})
	_, err3 := OrderPaid.Register(ctx, s.local, func(_ context.Context, o Order) error {
		s.step("dashboard", "the dashboard shows %d.%02d € more", o.Cents/100, o.Cents%100)
		return nil
	})

	// On Redis every group gets a copy: billing and shipping would be two services.
	_, err4 := OrderPaid.Register(ctx, s.redis, func(_ context.Context, o Order) error {
		s.step("billing", "billing books order %d", o.ID)
		return nil
	}, fanfare.Group("billing"))
	_, err5 := OrderPaid.Register(ctx, s.redis, func(ctx context.Context, o Order) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		if info.Attempt < 3 {
			s.say("shipping order %d fails, attempt %d", o.ID, info.Attempt)
			return errors.New("the parcel service does not answer")
		}
		s.step("shipping", "shipping order %d, attempt %d", o.ID, info.Attempt)
		return nil
	}, fanfare.Group("shipping"), fanfare.Exponential(200*time.Millisecond, time.Second, 0.5))

	_, err6 := PaymentCheck.Register(ctx, s.redis, func(ctx context.Context, o Order) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		s.step(fmt.Sprint("check ", o.ID), "payment of order %d checked, %v late", o.ID, s.late(info.DueAt))
		return nil
	})
	_, err7 := Invoice.Register(ctx, s.redis, func(_ context.Context, o Order) error {
		if !s.printerWorks() {
			return errors.New("the printer is out of paper")
		}
		s.step("invoice", "invoice for order %d printed", o.ID)
		return nil
	}, fanfare.MaxAttempts(2), fanfare.Fixed(100*time.Millisecond))
	return errors.Join(err1, err2, err3, err4, err5, err6, err7)
}

// sell places two orders. The first is paid for, the second is not.
func (s *shop) sell(ctx context.Context) error {
	paid := Order{ID: 1, Email: "ann@example.org", Cents: 4711}
	unpaid := Order{ID: 2, Email: "bob@example.org", Cents: 815}
	for _, o := range []Order{paid, unpaid} {
		s.say("order %d placed", o.ID)
		err := errors.Join(
			OrderPlaced.Dispatch(ctx, s.local, o),
			// An id of its own lets us find the check again. It survives this process.
			PaymentCheck.Dispatch(ctx, s.redis, o, fanfare.Delay(3*time.Second), fanfare.ID(checkID(o))),
		)
		if err != nil {
			return err
		}
	}

	// One event, one id, two dispatchers. If one of them failed, the error would
	// tell which, and could dispatch again to that one only.
	if err := fanfare.Dispatch(ctx, OrderPaid.Name(), paid, s.local, s.redis); err != nil {
		return err
	}
	canceled, err := s.redis.Cancel(ctx, PaymentCheck.Name(), checkID(paid))
	if err != nil {
		return err
	}
	if canceled {
		s.step("cancel", "order %d is paid: its payment check is canceled", paid.ID)
	}
	return Invoice.Dispatch(ctx, s.redis, paid, fanfare.High)
}

func checkID(o Order) string { return fmt.Sprintf("order:%d:payment", o.ID) }

// reviveInvoice finds the invoice among the dead letters, mends the cause, and
// lets it run again.
func (s *shop) reviveInvoice(ctx context.Context) error {
	invoices := s.redis.Queue(Invoice.Name(), "")
	dead, err := invoices.Dead(ctx, 0, 10)
	if err != nil {
		return err
	}
	for _, letter := range dead {
		s.step("dead letter", "dead letter: %s after %d attempts: %s", letter.Topic, letter.Attempts, letter.LastError)
		s.refillPrinter()
		if err := invoices.Requeue(ctx, letter.ID); err != nil {
			return err
		}
	}
	return s.await(ctx, "invoice")
}

func (s *shop) cleanUp(ctx context.Context) error {
	return errors.Join(
		s.redis.Queue(OrderPaid.Name(), "billing").Delete(ctx),
		s.redis.Queue(OrderPaid.Name(), "shipping").Delete(ctx),
		s.redis.Queue(PaymentCheck.Name(), "").Delete(ctx),
		s.redis.Queue(Invoice.Name(), "").Delete(ctx),
	)
}
