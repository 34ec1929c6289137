package sqlqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Extend sets the leases of held claims to end one lease from now. It does not
// wait for messages that others have locked: as long as their tokens are valid
// they are not lost.
func (b *Broker) Extend(ctx context.Context, q driver.Queue, name string, lease time.Duration, held []driver.Receipt) ([]bool, error) {
	if err := checkQueue(q); err != nil {
		return nil, err
	}
	if lease <= 0 {
		return nil, fmt.Errorf("sqlqueue: extend by %v: %w", lease, driver.ErrInvalid)
	}
	if err := b.note(ctx, q, name); err != nil {
		return nil, err
	}
	lost := make([]bool, len(held))
	for from := 0; from < len(held); from += batch {
		to := min(from+batch, len(held))
		err := b.transact(ctx, func(s session) error {
			return s.extend(ctx, q, lease, held[from:to], lost[from:to])
		})
		if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

func (s session) extend(ctx context.Context, q driver.Queue, lease time.Duration, held []driver.Receipt, lost []bool) error {
	h, err := s.head(ctx, q.Topic)
	if err != nil {
		return err
	}
	queue, _ := h.find(q.Group)
	ids := make([]string, len(held))
	for i, r := range held {
		ids[i] = r.ID
	}
	rows, err := s.claims(ctx, queue.id, ids, s.skip)
	if err != nil {
		return err
	}
	var valid, unknown []string
	for i, r := range held {
		row, token := rows[r.ID], parseToken(r.Token)
		lost[i] = row == nil || row.token != token || token == 0
		switch {
		case row == nil:
			unknown = append(unknown, r.ID)
		case !lost[i]:
			valid = append(valid, r.ID)
		}
	}
	if len(valid) > 0 {
		list, keys := among(blobs(valid))
		running, end := lineOf(queue.id, laneRunning), h.now+micros(lease)
		_, err := s.exec(ctx, "UPDATE {events} SET at = CASE WHEN line = ? AND at > ? THEN at ELSE ? END, line = ? WHERE queue_id = ? AND id IN "+list,
			parameters(running, end, end, running, queue.id, keys)...)
		if err != nil {
			return err
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	rows, err = s.claims(ctx, queue.id, unknown, "")
	for i, r := range held {
		if row := rows[r.ID]; lost[i] && row != nil && row.token == parseToken(r.Token) && row.token != 0 {
			lost[i] = false
		}
	}
	return err
}
