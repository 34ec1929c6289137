package sqlqueue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// lockedTries bounds how often Extend comes back to messages that others have
// locked: for a moment, as the claims of others do, or the server on behalf of a
// connection that was lost.
const lockedTries = 5

// Extend sets the leases of held claims to end one lease from now. It does not
// wait for a transaction of the program that has locked messages: while that is
// open nobody else can claim them, and as long as their tokens are valid they are
// not lost.
func (b *Broker) Extend(ctx context.Context, q driver.Queue, name string, lease time.Duration, held []driver.Receipt) ([]bool, error) {
	if err := checkQueue(q); err != nil {
		return nil, err
	}
	if lease <= 0 {
		return nil, fmt.Errorf("sqlqueue: extend by %v: %w", lease, driver.ErrInvalid)
	}
	b.note(ctx, q, name)
	lost := make([]bool, len(held))
	left := make([]int, len(held)) // indexes of what is to be done
	for i := range held {
		left[i] = i
	}
	for try := 1; len(left) > 0 && try <= lockedTries; try++ {
		var locked []int
		for some := range slices.Chunk(left, batch) {
			var met []int
			err := b.transact(ctx, func(s session) (err error) {
				met, err = s.extend(ctx, q, lease, held, some, lost)
				return err
			})
			if err != nil {
				return nil, err
			}
			locked = append(locked, met...)
		}
		if left = locked; len(left) > 0 && !pause(ctx, time.Duration(try)*time.Millisecond) {
			return nil, b.failure(ctx, ctx.Err())
		}
	}
	return lost, nil
}

// extend extends those claims whose indexes are given, and writes down which are
// lost. It returns the indexes of those whose messages are locked.
func (s session) extend(ctx context.Context, q driver.Queue, lease time.Duration, held []driver.Receipt, indexes []int, lost []bool) ([]int, error) {
	h, err := s.head(ctx, q.Topic)
	if err != nil {
		return nil, err
	}
	queue, _ := h.find(q.Group)
	ids := make([]string, len(indexes))
	for n, i := range indexes {
		ids[n] = held[i].ID
	}
	rows, err := s.claims(ctx, queue.id, ids, s.skip)
	if err != nil {
		return nil, err
	}
	var valid, unknown []string
	for _, i := range indexes {
		row := rows[held[i].ID]
		lost[i] = !row.has(held[i].Token)
		switch {
		case row == nil:
			unknown = append(unknown, held[i].ID)
		case !lost[i]:
			valid = append(valid, held[i].ID)
		}
	}
	if len(valid) > 0 {
		list, keys := among(blobs(valid))
		running, end := lineOf(queue.id, laneRunning), h.now+micros(lease)
		_, err := s.exec(ctx, "UPDATE {events} SET at = CASE WHEN line = ? AND at > ? THEN at ELSE ? END, line = ? WHERE queue_id = ? AND id IN "+list,
			parameters(running, end, end, running, queue.id, keys)...)
		if err != nil {
			return nil, err
		}
	}
	if len(unknown) == 0 {
		return nil, nil
	}
	rows, err = s.claims(ctx, queue.id, unknown, "")
	var locked []int
	for _, i := range indexes {
		if lost[i] && rows[held[i].ID].has(held[i].Token) {
			lost[i] = false
			locked = append(locked, i)
		}
	}
	return locked, err
}

// has reports whether the token is the valid one. There may be no row.
func (r *claimRow) has(token string) bool {
	t := parseToken(token)
	return r != nil && r.token == t && t != 0
}
