// Outbox plays a shop that keeps its orders and its events in one SQLite
// database, and tells other services through Redis (an embedded one, or the
// server that REDIS_URL names). It prints what happens as it happens, and exits
// with 1 if anything that should have happened did not.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"
	_ "modernc.org/sqlite"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

type Order struct {
	ID    int64
	Email string
}

var (
	OrderPlaced  = fanfare.NewTopic[Order]("order.placed")
	PaymentCheck = fanfare.NewTopic[Order]("order.payment-check")
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, events, err := openShop(ctx, filepath.Join(dir, "shop.db"))
	if err != nil {
		return err
	}
	defer db.Close()

	address, where := os.Getenv("REDIS_URL"), "the server of REDIS_URL"
	if address == "" {
		embedded, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer embedded.Close()
		address, where = embedded.Addr(), "an embedded miniredis"
	}
	redis, err := fanfare.OpenRedis(address, fanfare.WithPrefix("outbox:"+fanfare.NewID()))
	if err != nil {
		return err
	}

	s := &shop{timeline: newTimeline(), db: db, events: events, redis: redis}
	s.say("the shop opens on SQLite, with Redis on %s", where)
	if err := errors.Join(s.register(ctx), s.sell(ctx)); err != nil {
		return err
	}
	if err := s.wait(ctx); err != nil {
		return err
	}

	// The relay stops before its target. The queue of this run is removed from
	// Redis, because nobody will ever handle it again.
	err = events.Stop(ctx)
	err = errors.Join(err, redis.Queue(OrderPlaced.Name(), "warehouse").Delete(ctx), redis.Stop(ctx))
	return cmp.Or(errors.Join(err, s.audit(ctx)), s.missing())
}

// openShop opens the database, makes its tables and those of the events, and a
// dispatcher over them.
func openShop(ctx context.Context, file string) (*sql.DB, *fanfare.Durable, error) {
	// A transaction takes the lock when it begins, and waits for it. Without that
	// SQLite refuses one that reads first while somebody else writes.
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, nil, err
	}
	events, err := func() (*fanfare.Durable, error) {
		_, err := db.ExecContext(ctx, "CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT, paid INTEGER, state TEXT, checks INTEGER)")
		if err != nil {
			return nil, err
		}
		if err := sqlqueue.Migrate(ctx, db, sqlqueue.SQLite); err != nil {
			return nil, err
		}
		queue, err := sqlqueue.New(db, sqlqueue.SQLite)
		if err != nil {
			return nil, err
		}
		return fanfare.New(queue, fanfare.WithBackoff(fanfare.Fixed(100*time.Millisecond)))
	}()
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, events, nil
}

type shop struct {
	*timeline
	db     *sql.DB
	events *fanfare.Durable // in the database of the orders
	redis  *fanfare.Durable
}

// inTx runs f in a transaction: all of it takes effect, or nothing.
func (s *shop) inTx(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // has no effect after Commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// register says who handles what, before anything is dispatched: a group gets
// the events from when it is known.
func (s *shop) register(ctx context.Context) error {
	_, err1 := PaymentCheck.Register(ctx, s.events, s.checkPayment)

	// The warehouse would be another service. It knows of Redis only.
	_, err2 := OrderPlaced.Register(ctx, s.redis, func(ctx context.Context, o Order) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		s.step("warehouse", "the warehouse packs order %d, event %s", o.ID, info.ID)
		return nil
	}, fanfare.Group("warehouse"))

	// The relay forwards what the shop has committed, under the same ids. While
	// Redis is down the events wait in the database.
	_, err3 := s.events.Relay(ctx, OrderPlaced.Name(), "redis", s.redis)
	return errors.Join(err1, err2, err3)
}

// sell places two orders, of which one is paid for, and fails to place a third.
func (s *shop) sell(ctx context.Context) error {
	for id := range int64(2) {
		o := Order{ID: id + 1, Email: "ann@example.org"}
		if err := s.inTx(ctx, func(tx *sql.Tx) error { return s.place(ctx, tx, o) }); err != nil {
			return err
		}
		s.step("placed", "order %d is committed with its events", o.ID)
	}
	if _, err := s.db.ExecContext(ctx, "UPDATE orders SET paid = 1 WHERE id = 1"); err != nil {
		return err
	}
	s.say("order 1 is paid for")

	errStock := errors.New("out of stock")
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if err := s.place(ctx, tx, Order{ID: 3, Email: "bob@example.org"}); err != nil {
			return err
		}
		return errStock // found out late: all is rolled back
	})
	if !errors.Is(err, errStock) {
		return fmt.Errorf("order 3: %w, want %w", err, errStock)
	}
	rows, err := s.count(ctx, "id = 3")
	if err != nil {
		return err
	}
	_, err = s.events.Get(ctx, PaymentCheck.Name(), checkID(3))
	if rows == 0 && errors.Is(err, fanfare.ErrNotFound) {
		s.step("rollback", "order 3 is rolled back: no order, and no event")
	}
	return nil
}

// place stores an order and what follows from it in one transaction.
func (s *shop) place(ctx context.Context, tx *sql.Tx, o Order) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO orders VALUES (?, ?, 0, 'open', 0)", o.ID, o.Email)
	if err != nil {
		return err
	}
	events := s.events.InTx(tx)
	if err := OrderPlaced.Dispatch(ctx, events, o); err != nil {
		return err
	}
	return PaymentCheck.Dispatch(ctx, events, o, fanfare.Delay(2*time.Second), fanfare.ID(checkID(o.ID)))
}

func checkID(order int64) string { return fmt.Sprintf("order:%d:payment", order) }

// checkPayment is a handler whose effect and whose ack are one transaction: so
// the effect happens exactly once, however often the handler is called.
func (s *shop) checkPayment(ctx context.Context, o Order) error {
	info, _ := fanfare.DeliveryFrom(ctx)
	var state string
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "UPDATE orders SET checks = checks + 1, state = CASE paid WHEN 1 THEN 'paid' ELSE 'cancelled' END"+
			" WHERE id = ? RETURNING state", o.ID).Scan(&state)
		if err != nil {
			return err
		}
		if err := s.events.InTx(tx).Ack(ctx); err != nil {
			return err
		}
		if o.ID == 2 && info.Attempt == 1 {
			return errors.New("the disk is full")
		}
		return nil
	})
	if err != nil {
		s.step("failure", "the check of order %d fails, and its change is rolled back: %v", o.ID, err)
		return err
	}
	s.step(state, "order %d is %s, at attempt %d", o.ID, state, info.Attempt)
	return nil
}

// audit looks at what the database has in the end.
func (s *shop) audit(ctx context.Context) error {
	checked, err := s.count(ctx, "checks = 1")
	if err != nil {
		return err
	}
	status, err := s.events.Status(ctx)
	if err != nil {
		return err
	}
	left := 0
	for _, q := range status {
		left += q.Ready + q.Delayed + q.Running + q.Dead
	}
	if checked == 2 && left == 0 {
		s.step("audit", "the shop closes: %d orders, each checked once, and %d events left", checked, left)
	}
	return nil
}

// count counts the orders for which a condition holds.
func (s *shop) count(ctx context.Context, condition string) (n int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM orders WHERE "+condition).Scan(&n)
	return n, err
}
