package sqlqueue

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// purgePasses bounds how often Purge comes back to messages that were locked: by
// a claim, for a moment, or by a transaction of the program, for longer.
const purgePasses = 10

// Purge removes as many messages as wait and run when it begins, some at a time.
// It leaves those that a transaction of the program holds.
func (b *Broker) Purge(ctx context.Context, q driver.Queue) (int, error) {
	if err := checkQueue(q); err != nil {
		return 0, err
	}
	queue, all, err := b.countLiving(ctx, q)
	purged := 0
	for pass, left := 1, all; err == nil && left > 0 && purged < all && pass <= purgePasses; pass++ {
		n := 0
		n, err = b.purge(ctx, queue, all-purged, b.skip)
		if purged += n; err == nil && purged < all {
			pause(ctx, time.Duration(pass)*time.Millisecond)
			_, left, err = b.countLiving(ctx, q)
		}
	}
	return purged, err
}

// countLiving returns the id of a queue's row, and how many messages wait and run there.
func (b *Broker) countLiving(ctx context.Context, q driver.Queue) (id int64, n int, err error) {
	err = b.read(ctx, func(s session) error {
		h, err := s.head(ctx, q.Topic)
		if err != nil {
			return err
		}
		queue, _ := h.find(q.Group)
		id = queue.id
		return s.each(ctx, func(scan func(...any) error) error { return scan(&n) },
			"SELECT COUNT(*) FROM {events} WHERE line >= ? AND line < ?", lineOf(id, 0), lineOf(id, laneEnded))
	})
	return id, n, err
}

// purge removes up to limit messages that wait or run.
func (b *Broker) purge(ctx context.Context, queue int64, limit int, lock string) (int, error) {
	purged := 0
	for lane := int64(0); lane <= laneRunning && purged < limit; {
		n := int64(0)
		err := b.transact(ctx, func(s session) (err error) {
			n, err = s.purgeLane(ctx, queue, lane, min(batch, limit-purged), lock)
			return err
		})
		if err != nil {
			return purged, err
		}
		if purged += int(n); n == 0 {
			lane++
		}
	}
	return purged, nil
}

func (s session) purgeLane(ctx context.Context, queue, lane int64, limit int, lock string) (int64, error) {
	ids, err := s.front(ctx, queue, lane, maxInstant, limit, lock)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	list, keys := among(ids)
	if _, err := s.exec(ctx, "DELETE FROM {again} WHERE queue_id = ? AND id IN "+list, parameters(queue, keys)...); err != nil {
		return 0, err
	}
	return s.exec(ctx, "DELETE FROM {events} WHERE queue_id = ? AND id IN "+list, parameters(queue, keys)...)
}

// front returns the first ids of a lane whose instants have come, with a lock.
func (s session) front(ctx context.Context, queue, lane, until int64, limit int, lock string) ([][]byte, error) {
	var ids [][]byte
	err := s.each(ctx, func(scan func(...any) error) error {
		var id []byte
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM {events} WHERE line = ? AND at <= ? ORDER BY at, id LIMIT ?"+lock, lineOf(queue, lane), until, limit)
	return ids, err
}
