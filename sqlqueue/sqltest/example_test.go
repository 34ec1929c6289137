package sqltest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

type Order struct{ ID int64 }

var PaymentCheck = fanfare.NewTopic[Order]("order.payment-check")

func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}

// newShop returns a database in a file of its own, with a table of orders and
// without tables of events. Transactions take the lock when they begin, and wait
// for it.
func newShop() (db *sql.DB, remove func()) {
	dir, err := os.MkdirTemp("", "sqlqueue")
	check(err)
	db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_txlock=immediate&_pragma=busy_timeout(5000)")
	check(err)
	_, err = db.Exec("CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)")
	check(err)
	return db, func() {
		check(db.Close())
		check(os.RemoveAll(dir))
	}
}

// newEvents returns a dispatcher over db.
func newEvents(ctx context.Context, db *sql.DB) *fanfare.Durable {
	check(sqlqueue.Migrate(ctx, db, sqlqueue.SQLite))
	queue, err := sqlqueue.New(db, sqlqueue.SQLite)
	check(err)
	d, err := fanfare.New(queue)
	check(err)
	return d
}

func Example() {
	ctx := context.Background()
	db, remove := newShop()
	defer remove()

	check(sqlqueue.Migrate(ctx, db, sqlqueue.SQLite)) // does nothing the next time
	queue, err := sqlqueue.New(db, sqlqueue.SQLite)
	check(err)
	d, err := fanfare.New(queue)
	check(err)

	handled := make(chan Order)
	_, err = PaymentCheck.Register(ctx, d, func(_ context.Context, o Order) error {
		handled <- o
		return nil
	})
	check(err)
	check(PaymentCheck.Dispatch(ctx, d, Order{ID: 42}, fanfare.Delay(10*time.Millisecond)))
	fmt.Println("is order", (<-handled).ID, "paid?")
	check(d.Stop(ctx)) // the database stays open
	// Output: is order 42 paid?
}

// The order and its event are committed together, or neither of them is.
func Example_inTx() {
	ctx := context.Background()
	db, remove := newShop()
	defer remove()
	d := newEvents(ctx, db)

	place := func(o Order, inStock bool) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // has no effect after Commit
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders VALUES (?, 'open')", o.ID); err != nil {
			return err
		}
		if err := PaymentCheck.Dispatch(ctx, d.InTx(tx), o, fanfare.Delay(15*time.Minute)); err != nil {
			return err
		}
		if !inStock {
			return errors.New("out of stock")
		}
		return tx.Commit()
	}
	fmt.Println(place(Order{ID: 1}, true))
	fmt.Println(place(Order{ID: 2}, false))

	var orders int
	check(db.QueryRowContext(ctx, "SELECT COUNT(*) FROM orders").Scan(&orders))
	status, err := d.Status(ctx, PaymentCheck.Name())
	check(err)
	fmt.Println(orders, "order,", status[0].Delayed, "event")
	// Output:
	// <nil>
	// out of stock
	// 1 order, 1 event
}

// What the handler changes and the end of its event are one transaction: the
// change happens exactly once, however often the handler is called.
func Example_ack() {
	ctx := context.Background()
	db, remove := newShop()
	defer remove()
	d := newEvents(ctx, db)
	_, err := db.ExecContext(ctx, "INSERT INTO orders VALUES (42, 'open')")
	check(err)

	done := make(chan bool)
	_, err = PaymentCheck.Register(ctx, d, func(ctx context.Context, o Order) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "UPDATE orders SET state = 'cancelled' WHERE id = ?", o.ID); err != nil {
			return err
		}
		if err := d.InTx(tx).Ack(ctx); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		close(done)
		return nil
	})
	check(err)
	check(PaymentCheck.Dispatch(ctx, d, Order{ID: 42}))
	<-done
	check(d.Stop(ctx))

	var state string
	check(db.QueryRowContext(ctx, "SELECT state FROM orders").Scan(&state))
	fmt.Println(state)
	// Output: cancelled
}

// The statements can be run by other means than Migrate.
func Example_schema() {
	ctx := context.Background()
	db, remove := newShop()
	defer remove()

	text, err := sqlqueue.Schema(sqlqueue.SQLite)
	check(err)
	first, _, _ := strings.Cut(text, "\n")
	fmt.Println(first)
	_, err = db.ExecContext(ctx, text)
	check(err)
	newEvents(ctx, db) // finds the tables
	// Output: -- The version of this layout.
}

// Two prefixes in one database know nothing of each other.
func Example_withPrefix() {
	ctx := context.Background()
	db, remove := newShop()
	defer remove()
	open := func(prefix string) *fanfare.Durable {
		check(sqlqueue.Migrate(ctx, db, sqlqueue.SQLite, sqlqueue.WithPrefix(prefix)))
		queue, err := sqlqueue.New(db, sqlqueue.SQLite, sqlqueue.WithPrefix(prefix))
		check(err)
		d, err := fanfare.New(queue)
		check(err)
		return d
	}
	shop, billing := open("shop_"), open("billing_")
	check(PaymentCheck.Dispatch(ctx, shop, Order{ID: 42}))
	for _, d := range []*fanfare.Durable{shop, billing} {
		status, err := d.Status(ctx, PaymentCheck.Name())
		check(err)
		fmt.Println(status[0].Ready)
	}
	// Output:
	// 1
	// 0
}
