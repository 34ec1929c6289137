package sqlqueue_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

type Order struct{ ID int64 }

var PaymentCheck = fanfare.NewTopic[Order]("order.payment-check")

// The program imports a driver, here that of PostgreSQL:
//
//	import _ "github.com/jackc/pgx/v5/stdlib"
//
// With go-sql-driver/mysql it is sql.Open("mysql", "user:password@tcp(host)/shop")
// and sqlqueue.MySQL; with modernc.org/sqlite it is
// sql.Open("sqlite", "file:shop.db?_txlock=immediate&_pragma=busy_timeout(5000)")
// and sqlqueue.SQLite.
func Example() {
	run := func(ctx context.Context) error {
		db, err := sql.Open("pgx", "postgres://localhost/shop")
		if err != nil {
			return err
		}
		defer db.Close() // after Stop: the queue leaves it open
		if err := sqlqueue.Migrate(ctx, db, sqlqueue.Postgres); err != nil {
			return err
		}
		queue, err := sqlqueue.New(db, sqlqueue.Postgres)
		if err != nil {
			return err
		}
		defer queue.Close()
		d, err := fanfare.New(queue)
		if err != nil {
			return err
		}
		_, err = PaymentCheck.Register(ctx, d, func(ctx context.Context, o Order) error {
			fmt.Println("is order", o.ID, "paid?")
			return nil
		})
		if err != nil {
			return err
		}

		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // has no effect after Commit
		// … insert the order by tx …
		if err := PaymentCheck.Dispatch(ctx, d.InTx(tx), Order{ID: 42}, fanfare.Delay(15*time.Minute)); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}

		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return d.Stop(drain)
	}
	_ = run // in main, with a context that ends with the program
}

func ExampleSchema() {
	text, err := sqlqueue.Schema(sqlqueue.Postgres, sqlqueue.WithPrefix("shop_"))
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(text) {
		if table, ok := strings.CutPrefix(line, "CREATE TABLE "); ok {
			fmt.Println(strings.TrimSuffix(table, " (\n"))
		}
	}
	// Output:
	// shop_schema
	// shop_queues
	// shop_events
	// shop_again
	// shop_dead
	// shop_consumers
}
