package sqlqueue

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Cancel removes every copy of the message that waits, and what RunAgain keeps
// beside one that waits or runs.
func (b *Broker) Cancel(ctx context.Context, topic, id string) (bool, error) {
	var canceled bool
	err := b.transact(ctx, func(s session) (err error) {
		canceled, err = s.cancel(ctx, topic, id)
		return err
	})
	return canceled && err == nil, err
}

func (s session) cancel(ctx context.Context, topic, id string) (bool, error) {
	h, copies, err := s.copies(ctx, topic, id)
	if err != nil {
		return false, err
	}
	removed, running := false, false
	for _, r := range copies {
		if !r.lives() {
			continue
		}
		if r.again != 0 {
			if err := s.forgetKept(ctx, r.queue, id); err != nil {
				return false, err
			}
		}
		if !r.waits(h.now) {
			running = true
			continue
		}
		removed = true
		if _, err := s.exec(ctx, "DELETE FROM {events} WHERE queue_id = ? AND id = ?", r.queue, blob(id)); err != nil {
			return false, err
		}
	}
	if !removed || running {
		return false, nil
	}
	list, queues := among(h.ids())
	_, err = s.exec(ctx, "DELETE FROM {events} WHERE queue_id IN "+list+" AND id = ? AND line = queue_id * 8 + ?", parameters(queues, blob(id), laneEnded)...)
	return err == nil, err
}

// copies returns the rows of an id in all queues of a topic, locked.
func (s session) copies(ctx context.Context, topic, id string) (head, []eventRow, error) {
	if err := driver.CheckName("topic", topic); err != nil {
		return head{}, nil, err
	}
	if err := driver.CheckName("id", id); err != nil {
		return head{}, nil, err
	}
	h, err := s.head(ctx, topic)
	if err != nil {
		return h, nil, err
	}
	rows, err := s.events(ctx, h, blobs([]string{id}), s.lock)
	return h, rows[id], err
}

// forgetKept drops what RunAgain keeps.
func (s session) forgetKept(ctx context.Context, queue int64, id string) error {
	if _, err := s.exec(ctx, "DELETE FROM {again} WHERE queue_id = ? AND id = ?", queue, blob(id)); err != nil {
		return err
	}
	_, err := s.exec(ctx, "UPDATE {events} SET again = 0 WHERE queue_id = ? AND id = ?", queue, blob(id))
	return err
}

// Reschedule makes every copy that waits due at the given instant, or now if
// that has passed, and what RunAgain keeps beside one that runs.
func (b *Broker) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	var moved []queueRow
	err := b.transact(ctx, func(s session) (err error) {
		moved, err = s.reschedule(ctx, topic, id, at)
		return err
	})
	if err != nil || len(moved) == 0 {
		return false, err
	}
	b.wake(ctx, moved)
	return true, nil
}

// reschedule returns the queues in which it found something to move.
func (s session) reschedule(ctx context.Context, topic, id string, at time.Time) ([]queueRow, error) {
	h, copies, err := s.copies(ctx, topic, id)
	if err != nil {
		return nil, err
	}
	var moved []queueRow
	due := max(h.now, instant(at))
	for _, r := range copies {
		waits := r.waits(h.now)
		switch {
		case !r.lives() || !waits && r.again == 0:
			continue
		case waits:
			err = s.postpone(ctx, r.queue, blob(id), due)
		default:
			_, err = s.exec(ctx, "UPDATE {again} SET due = ? WHERE queue_id = ? AND id = ?", due, r.queue, blob(id))
		}
		if err != nil {
			return nil, err
		}
		for _, q := range h.queues {
			if q.id == r.queue {
				moved = append(moved, q)
			}
		}
	}
	return moved, nil
}
