package fanfare

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Tx is a [Target] in a transaction of the caller's: what it does takes effect
// if that commits, and not at all if it does not. [Durable.InTx] makes one. It
// encodes, limits, observes and counts as its dispatcher does, at the call and
// not at the commit: [Stats] do not know of a rollback.
//
// After an error that is not about one event alone, as ErrDuplicate, ErrTooLarge
// and those of options are, the transaction is to be rolled back. A Tx begins,
// commits and rolls back nothing itself, and is of no more use when the
// transaction has ended.
type Tx struct {
	d  *Durable
	tx driver.Tx
}

var (
	_ Target      = (*Tx)(nil)
	_ BatchTarget = (*Tx)(nil)
)

// InTx returns a dispatcher in tx, on a backend that keeps its events in the
// database of tx, as those of package sqlqueue do: so that events exist exactly
// if the data does that they are about.
//
//	err = PaymentCheck.Dispatch(ctx, d.InTx(tx), order, fanfare.Delay(15*time.Minute))
//
// With a backend that cannot, or a nil tx, its methods return errors that match
// ErrUnsupported or ErrInvalid. See [Capabilities].
func (d *Durable) InTx(tx *sql.Tx) *Tx {
	b, ok := d.broker.(driver.Transactor)
	switch {
	case !ok:
		return &Tx{d: d, tx: noTx{fmt.Errorf("transactions: %w", ErrUnsupported)}}
	case tx == nil:
		return &Tx{d: d, tx: noTx{fmt.Errorf("nil transaction: %w", ErrInvalid)}}
	}
	return &Tx{d: d, tx: b.InTx(tx)}
}

// DispatchTx is short for the Dispatch of [Durable.InTx].
func (d *Durable) DispatchTx(ctx context.Context, tx *sql.Tx, topic string, event any) error {
	return d.InTx(tx).Dispatch(ctx, topic, event)
}

// Dispatch is [Durable.Dispatch] in the transaction.
func (t *Tx) Dispatch(ctx context.Context, topic string, event any) error {
	return wrapDispatch(t.dispatchOne, t.d.dispatching)(ctx, topic, event)
}

func (t *Tx) dispatchOne(ctx context.Context, topic string, event any) error {
	return t.d.pushOne(ctx, t.tx, topic, event)
}

// DispatchBatch is [Durable.DispatchBatch] in the transaction.
func (t *Tx) DispatchBatch(ctx context.Context, topic string, events []any) error {
	return t.d.pushBatch(ctx, t.tx, topic, events)
}

// Cancel is [Durable.Cancel] in the transaction: true means that the event will
// never run if the transaction commits.
func (t *Tx) Cancel(ctx context.Context, topic, id string) (bool, error) {
	return t.d.cancel(ctx, t.tx, topic, id)
}

// Reschedule is [Durable.Reschedule] in the transaction.
func (t *Tx) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	return t.d.reschedule(ctx, t.tx, topic, id, at)
}

// Ack ends the event that the caller, a handler of the same dispatcher, is
// handling: it is done if the transaction commits. So what the handler does in
// the transaction happens exactly once, whatever happens to the process. ctx is
// the handler's, or one made of it. The transaction should end before the handler
// returns.
//
// An error that matches ErrLeaseLost says that another process may have the
// event, or that the handler has returned. After it, as after any other error,
// roll back. ErrInvalid reports a ctx that is not of a handler of this
// dispatcher, or of one that is [AtMostOnce], whose events end before it begins.
//
// After Ack the transaction decides, and the handler's context does not end any
// more because of ErrLeaseLost:
//
//   - If the handler returns nil, the event counts as handled and the dispatcher
//     lets go of it. If the transaction was not committed after all, the event
//     runs again when its lease has run out.
//   - If it returns an error, the dispatcher does what the error asks for. That
//     has no effect if the transaction was committed, although [Stats] and the
//     [Observer] take the event for retried or dead.
//   - If the transaction was rolled back, the handler may repeat all of it in
//     another one, Ack included. A second Ack in the same one changes nothing.
func (t *Tx) Ack(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("ack: nil context: %w", ErrInvalid)
	}
	h, ok := handlingFrom(ctx)
	switch {
	case !ok || h.c.d != t.d:
		return fmt.Errorf("ack outside of a handler of this dispatcher: %w", ErrInvalid)
	case h.c.cfg.atMostOnce:
		return fmt.Errorf("ack in a handler that is AtMostOnce: %w", ErrInvalid)
	}
	q := h.c.queue
	err := h.c.ackIn(h.l, func() error {
		return settleOne(ctx, t.tx, q, driver.Settlement{Receipt: h.l.Receipt, Verb: driver.Ack})
	})
	if err != nil {
		return fmt.Errorf("ack %s, topic %s, group %s: %w", quoteName(h.l.ID), quoteName(q.Topic), quoteName(q.Group), err)
	}
	return nil
}

// noTx is the transaction that is none, because of err.
type noTx struct{ err error }

func (n noTx) Push(context.Context, string, []driver.Message) ([]error, error) { return nil, n.err }

func (n noTx) Cancel(context.Context, string, string) (bool, error) { return false, n.err }

func (n noTx) Reschedule(context.Context, string, string, time.Time) (bool, error) {
	return false, n.err
}

func (n noTx) Settle(context.Context, driver.Queue, []driver.Settlement) ([]error, error) {
	return nil, n.err
}
