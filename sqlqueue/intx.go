package sqlqueue

import (
	"context"
	"database/sql"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// InTx returns the part of the broker that works in tx, a transaction on the
// same database. Nothing is tried again: an error that is not the outcome of one
// message has ended the transaction, which is to be rolled back.
//
// In PostgreSQL a transaction that is REPEATABLE READ or SERIALIZABLE stores
// messages for the groups that there were when it first read; in MariaDB and MySQL
// too it cancels and reschedules only the copies of those. In MariaDB and MySQL
// a Push locks the groups of the topic until the transaction ends: to add one has
// to wait for that. The first Push of all to a topic without groups makes "default":
// others that find none wait for its transaction, so create groups beforehand.
func (b *Broker) InTx(tx *sql.Tx) driver.Tx { return inTx{session{b, tx, b.current}} }

// inTx does in a transaction of the caller's what a Broker does in its own.
type inTx struct{ s session }

// Push implements driver.Tx.
func (t inTx) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	outcomes, h, err := t.s.push(ctx, topic, msgs)
	if err != nil {
		return nil, t.s.failure(ctx, err)
	}
	return outcomes, t.stir(ctx, h.receivers())
}

// Settle implements driver.Tx.
func (t inTx) Settle(ctx context.Context, q driver.Queue, all []driver.Settlement) ([]error, error) {
	if err := checkQueue(q); err != nil {
		return nil, err
	}
	outcomes, indexes := make([]error, len(all)), make([]int, len(all))
	for i := range indexes {
		indexes[i] = i
	}
	if len(all) == 0 {
		return outcomes, nil
	}
	got, err := t.s.settle(ctx, q, all, indexes, outcomes, t.s.lock)
	if err != nil {
		return nil, t.s.failure(ctx, err)
	}
	if !got.waits {
		return outcomes, nil
	}
	return outcomes, t.stir(ctx, []queueRow{got.queue})
}

// Cancel implements driver.Tx.
func (t inTx) Cancel(ctx context.Context, topic, id string) (bool, error) {
	ok, err := t.s.cancel(ctx, topic, id)
	if err != nil {
		return false, t.s.failure(ctx, err)
	}
	return ok, nil
}

// Reschedule implements driver.Tx.
func (t inTx) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	moved, err := t.s.reschedule(ctx, topic, id, at)
	if err != nil {
		return false, t.s.failure(ctx, err)
	}
	return len(moved) > 0, t.stir(ctx, moved)
}

// stir makes consumers look for what the transaction changed, when it commits.
func (t inTx) stir(ctx context.Context, queues []queueRow) error {
	var ids []int64
	hears := t.s.hears() // and will be told by the commit
	for _, q := range queues {
		if !hears {
			t.s.wakes.wake(q.Queue, true)
		}
		ids = append(ids, q.id)
	}
	if t.s.dialect != Postgres {
		return nil
	}
	if err := t.s.notify(ctx, ids); err != nil {
		return t.s.failure(ctx, err)
	}
	return nil
}
