package sqlqueue

import (
	"context"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// Requeue lets dead messages wait again, due now.
func (b *Broker) Requeue(ctx context.Context, q driver.Queue, ids ...string) ([]error, error) {
	if err := checkQueue(q); err != nil {
		return nil, err
	}
	outcomes := make([]error, len(ids))
	var queue queueRow
	err := b.transact(ctx, func(s session) error {
		h, err := s.head(ctx, q.Topic)
		if err != nil {
			return err
		}
		queue, _ = h.find(q.Group)
		for i, id := range ids {
			what, err := s.requeue(ctx, h.now, queue.id, id)
			if err != nil {
				return err
			}
			if outcomes[i] = what; what != nil {
				outcomes[i] = fmt.Errorf("sqlqueue: requeue %q: %w", id, what)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.wake(ctx, []queueRow{queue})
	return outcomes, nil
}

// requeue returns the outcome for one dead message, and an error if it could not
// be found out.
func (s session) requeue(ctx context.Context, now, queue int64, id string) (outcome, err error) {
	var m *message
	var ended, fence int64
	err = s.each(ctx, func(scan func(...any) error) error {
		m = &message{id: id, due: now}
		err := scan(&m.priority, &m.body, &ended, &fence)
		m.lane, m.body = laneOf(driver.Priority(m.priority)), notNil(m.body)
		return err
	}, "SELECT priority, body, ended, fence FROM {dead} WHERE queue_id = ? AND id = ?"+s.lock, queue, blob(id))
	if err != nil {
		return nil, err
	}
	if m == nil {
		return driver.ErrNotFound, nil
	}
	m.token = newToken()
	n, err := s.insertEvents(ctx, []queueRow{{id: queue}}, []*message{m})
	if err == nil && n == 0 {
		n, err = s.revive(ctx, queue, m)
	}
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return driver.ErrDuplicate, nil
	}
	if _, err = s.exec(ctx, "UPDATE {events} SET ended = ?, fence = CASE WHEN fence < ? THEN ? ELSE fence END WHERE queue_id = ? AND id = ?",
		ended, fence, fence, queue, blob(id)); err != nil {
		return nil, err
	}
	_, err = s.exec(ctx, "DELETE FROM {dead} WHERE queue_id = ? AND id = ?", queue, blob(id))
	return nil, err
}

// DeleteDead removes dead messages and returns how many there were.
func (b *Broker) DeleteDead(ctx context.Context, q driver.Queue, ids ...string) (int, error) {
	if err := checkQueue(q); err != nil || len(ids) == 0 {
		return 0, err
	}
	deleted := 0
	for from := 0; from < len(ids); from += batch {
		some := ids[from:min(from+batch, len(ids))]
		n := int64(0)
		err := b.transact(ctx, func(s session) error {
			h, err := s.head(ctx, q.Topic)
			if err != nil {
				return err
			}
			queue, _ := h.find(q.Group)
			list, keys := among(blobs(some))
			n, err = s.exec(ctx, "DELETE FROM {dead} WHERE queue_id = ? AND id IN "+list, parameters(queue.id, keys)...)
			return err
		})
		if err != nil {
			return deleted, err
		}
		deleted += int(n)
	}
	return deleted, nil
}
