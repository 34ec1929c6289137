package sqlqueue

import (
	"context"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// Subscribe makes sure that q.Topic has the group q.Group.
func (b *Broker) Subscribe(ctx context.Context, q driver.Queue) error {
	if err := checkQueue(q); err != nil {
		return err
	}
	err := b.transact(ctx, func(s session) error {
		h, err := s.head(ctx, q.Topic)
		if err != nil {
			return err
		}
		row, err := s.ensure(ctx, &h, q)
		if err != nil || row.subscribed {
			return err
		}
		_, err = s.exec(ctx, "UPDATE {queues} SET subscribed = ? WHERE id = ?", groupAdded, row.id)
		return err
	})
	if err == nil {
		b.setSubscribed(q, true)
	}
	return err
}

func (b *Broker) setSubscribed(q driver.Queue, subscribed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !subscribed {
		delete(b.subscribed, q)
		return
	}
	b.subscribed[q] = true
}

// subscribeAgain subscribes after the database lost the group, as one does that
// was restored from a backup: else a consumer would wait for ever for events
// that are stored for other groups. A group that was removed is no such case. If
// it fails, the next claim comes here again.
func (b *Broker) subscribeAgain(ctx context.Context, q driver.Queue) {
	b.mu.Lock()
	lost := b.subscribed[q]
	b.mu.Unlock()
	if lost {
		_ = b.Subscribe(ctx, q)
	}
}

// Unsubscribe removes the group, and then what it holds, some at a time. It waits
// for transactions of the program that have locked something of it. What a
// dispatch that had begun before stores for the group after that stays, and its
// ids are taken, until the group is removed again. The ids of what had ended stay
// known: they are the topic's.
func (b *Broker) Unsubscribe(ctx context.Context, q driver.Queue) error {
	if err := checkQueue(q); err != nil {
		return err
	}
	b.setSubscribed(q, false)
	var row queueRow
	err := b.transact(ctx, func(s session) error {
		h, err := s.head(ctx, q.Topic)
		if err != nil {
			return err
		}
		row, _ = h.find(q.Group)
		_, err = s.exec(ctx, "UPDATE {queues} SET subscribed = ?, paused = 0 WHERE id = ?", groupRemoved, row.id)
		return err
	})
	if err != nil || row.id == 0 {
		return err
	}
	for purged := 1; purged > 0; { // what moved to another lane meanwhile, the next time
		if purged, err = b.purge(ctx, row.id, maxInstant, b.lock); err != nil {
			return err
		}
	}
	if err := b.empty(ctx, "{dead}", "line", lineOf(row.id, laneDead), "id"); err != nil {
		return err
	}
	return b.empty(ctx, "{consumers}", "queue_id", row.id, "name")
}

// empty deletes all rows with a value in a column from a table, some at a time,
// by the rest of its key.
func (b *Broker) empty(ctx context.Context, table, column string, value int64, key string) error {
	for {
		var some [][]byte
		err := b.transact(ctx, func(s session) error {
			some = nil
			err := s.each(ctx, func(scan func(...any) error) error {
				var one []byte
				err := scan(&one)
				some = append(some, one)
				return err
			}, fmt.Sprintf("SELECT %s FROM %s WHERE %s = ? LIMIT %d", key, table, column, batch)+s.lock, value)
			if err != nil || len(some) == 0 {
				return err
			}
			list, keys := among(some)
			_, err = s.exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s = ? AND %s IN %s", table, column, key, list), parameters(value, keys)...)
			return err
		})
		if err != nil || len(some) == 0 {
			return err
		}
	}
}

// batch is how many rows one statement changes at most.
const batch = 500

// Pause pauses a group of a topic, or the whole topic where q.Group is empty.
func (b *Broker) Pause(ctx context.Context, q driver.Queue) error {
	return b.setPaused(ctx, q, 1)
}

// Resume ends what Pause with the same q began.
func (b *Broker) Resume(ctx context.Context, q driver.Queue) error {
	return b.setPaused(ctx, q, 0)
}

func (b *Broker) setPaused(ctx context.Context, q driver.Queue, paused int) error {
	if q.Group != "" {
		if err := checkQueue(q); err != nil {
			return err
		}
	} else if err := driver.CheckName("topic", q.Topic); err != nil {
		return fmt.Errorf("sqlqueue: %w", err)
	}
	var h head
	err := b.transact(ctx, func(s session) error {
		var err error
		if h, err = s.head(ctx, q.Topic); err != nil {
			return err
		}
		row, err := s.ensure(ctx, &h, q)
		if err != nil {
			return err
		}
		_, err = s.exec(ctx, "UPDATE {queues} SET paused = ? WHERE id = ?", paused, row.id)
		return err
	})
	if err == nil {
		b.wake(ctx, h.queues)
	}
	return err
}
