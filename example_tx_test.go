package fanfare_test

import (
	"context"
	"database/sql"
	"time"

	"github.com/fanfare-go/fanfare"
)

// d is over a broker of package sqlqueue, and db is its database.
func ExampleDurable_InTx() {
	place := func(ctx context.Context, db *sql.DB, d *fanfare.Durable, o Order) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // has no effect after Commit
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, email) VALUES (?, ?)", o.ID, o.Email); err != nil {
			return err
		}
		events := d.InTx(tx)
		if err := OrderPaid.Dispatch(ctx, events, o); err != nil {
			return err
		}
		if err := OrderPaid.DispatchBatch(ctx, events, []Order{{ID: 8}, {ID: 9}}); err != nil {
			return err
		}
		return tx.Commit() // without it there is neither an order nor an event
	}
	_ = place
}

func ExampleDurable_DispatchTx() {
	place := func(ctx context.Context, tx *sql.Tx, d *fanfare.Durable, o Order) error {
		return d.DispatchTx(ctx, tx, OrderPaid.Name(), fanfare.With(o, fanfare.Delay(15*time.Minute)))
	}
	_ = place
}

// The handler changes what the event is about and ends the event in one
// transaction: so that happens exactly once, however often it is called.
func ExampleTx_Ack() {
	register := func(ctx context.Context, db *sql.DB, d *fanfare.Durable) error {
		_, err := OrderPaid.Register(ctx, d, func(ctx context.Context, o Order) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, "UPDATE orders SET paid = 1 WHERE id = ?", o.ID); err != nil {
				return err
			}
			if err := d.InTx(tx).Ack(ctx); err != nil {
				return err
			}
			return tx.Commit()
		})
		return err
	}
	_ = register
}

func ExampleClaimed_AckTx() {
	work := func(ctx context.Context, tx *sql.Tx, d *fanfare.Durable) error {
		claimed, err := d.Queue(OrderPaid.Name(), "").Claim(ctx, 1, time.Minute)
		if err != nil || len(claimed) == 0 {
			return err
		}
		// … do in tx what the event asks for …
		return claimed[0].AckTx(ctx, tx)
	}
	_ = work
}
