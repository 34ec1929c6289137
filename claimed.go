package fanfare

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Claim takes up to limit due events out of the queue for the caller to handle by
// hand, each for one lease; it does not wait for any. An event whose lease runs
// out before it was settled goes to the next who asks. A group may be handled in
// this way, by Register, or both. The lease is at least 1s.
func (q *Queue) Claim(ctx context.Context, limit int, lease time.Duration) ([]*Claimed, error) {
	if limit < 1 {
		return nil, fmt.Errorf("limit %d, want at least 1: %w", limit, ErrInvalid)
	}
	if err := between(lease, minLease, maxLease); err != nil {
		return nil, fmt.Errorf("lease: %w: %w", err, ErrInvalid)
	}
	claim, err := q.d.broker.Claim(ctx, q.q, driver.ClaimRequest{Limit: limit, Lease: lease, Consumer: q.d.name})
	if err != nil {
		return nil, q.explain("claim", err)
	}
	result := make([]*Claimed, len(claim.Deliveries))
	for i, d := range claim.Deliveries {
		result[i] = &Claimed{
			Record: q.record(driver.Record{
				ID: d.ID, Queue: q.q, State: driver.Running, Priority: d.Priority,
				Attempts: d.Attempt, Failures: d.Failures, Time: claim.Now.Add(lease), Body: d.Body,
			}),
			Fence: d.Fence, q: q, receipt: d.Receipt,
		}
	}
	return result, nil
}

// Claimed is an event that [Queue.Claim] took. Its methods return an error that
// matches ErrLeaseLost if somebody else has the event by then, and may be
// repeated after one that matches ErrUnknownOutcome.
type Claimed struct {
	Record
	Fence int64 // as in Delivery

	q       *Queue
	receipt driver.Receipt
}

// Ack ends the event: it is done.
func (c *Claimed) Ack(ctx context.Context) error {
	return c.settle(ctx, driver.Settlement{Verb: driver.Ack})
}

// AckTx is Ack as part of tx: the event is done if tx commits. After an error tx
// is to be rolled back. See [Durable.InTx] for the backends that can.
func (c *Claimed) AckTx(ctx context.Context, tx *sql.Tx) error {
	return c.settleBy(ctx, c.q.d.InTx(tx).tx, driver.Settlement{Verb: driver.Ack})
}

// Retry lets the event wait for d and then be taken again. It counts as a
// failure, with err as its error.
func (c *Claimed) Retry(ctx context.Context, d time.Duration, err error) error {
	return c.settle(ctx, driver.Settlement{Verb: driver.Retry, Delay: max(d, 0), Error: errorText(err)})
}

// Release gives the event back as if it had not been taken.
func (c *Claimed) Release(ctx context.Context) error {
	return c.settle(ctx, driver.Settlement{Verb: driver.Release})
}

// Bury makes the event a dead letter, with err as its error.
func (c *Claimed) Bury(ctx context.Context, err error) error {
	return c.settle(ctx, driver.Settlement{Verb: driver.Bury, Reason: ReasonDiscarded, Error: errorText(err)})
}

// Extend lets the lease end one lease from now, if that is later than before.
func (c *Claimed) Extend(ctx context.Context, lease time.Duration) error {
	lost, err := c.q.d.broker.Extend(ctx, c.q.q, c.q.d.name, lease, []driver.Receipt{c.receipt})
	if err == nil && lost[0] {
		err = ErrLeaseLost
	}
	return c.q.explain("extend "+quoteName(c.ID), err)
}

func (c *Claimed) settle(ctx context.Context, s driver.Settlement) error {
	return c.settleBy(ctx, c.q.d.broker, s)
}

func (c *Claimed) settleBy(ctx context.Context, by concluder, s driver.Settlement) error {
	s.Receipt = c.receipt
	return c.q.explain("settle "+quoteName(c.ID), settleOne(ctx, by, c.q.q, s))
}

// concluder is what ends claims: a broker, or its part of a transaction.
type concluder interface {
	Settle(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error)
}

// settleOne ends one claim.
func settleOne(ctx context.Context, by concluder, q driver.Queue, s driver.Settlement) error {
	errs, err := by.Settle(ctx, q, []driver.Settlement{s})
	if err != nil {
		return err
	}
	return errs[0]
}

// errorText is what is stored of an error.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return truncate(err.Error(), maxError)
}
