package sqlqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Ids that ended are forgotten, up to batch of them, when a queue has ended
// trimAfter messages, and at the latest with the first call after trimEvery.
const (
	trimAfter = batch / 2
	trimEvery = 10 * time.Second
)

// trimming is when a queue was last trimmed, and how much ended since then.
type trimming struct {
	at    time.Time
	ended int
}

// trimSometimes forgets ids that ended longer ago than the window. Where that
// fails, the next time does it.
func (b *Broker) trimSometimes(ctx context.Context, q driver.Queue, ended int) {
	b.mu.Lock()
	t := b.trimmed[q]
	t.ended += ended
	due, idle := t.ended >= trimAfter || time.Since(t.at) >= trimEvery, t.ended == 0
	if due {
		t = trimming{at: time.Now()}
	}
	if len(b.trimmed) > remembered {
		clear(b.trimmed)
	}
	b.trimmed[q] = t
	b.mu.Unlock()
	if due && !(idle && b.nothingToTrim(ctx, q)) {
		_ = b.transact(ctx, func(s session) error { return s.trim(ctx, q) })
	}
}

// nothingToTrim looks without a transaction, which an idle queue would have for
// nothing.
func (b *Broker) nothingToTrim(ctx context.Context, q driver.Queue) bool {
	queue := b.wakes.know(q)
	if b.embedded || queue == 0 {
		return false
	}
	nothing := true
	err := b.read(ctx, func(s session) error {
		nothing = true
		return s.each(ctx, func(scan func(...any) error) error { return scan(&nothing) },
			fmt.Sprintf("SELECT at > %s FROM {events} WHERE line = ? ORDER BY at LIMIT 1", s.now), lineOf(queue, laneEnded))
	})
	return err == nil && nothing
}

func (s session) trim(ctx context.Context, q driver.Queue) error {
	h, err := s.head(ctx, q.Topic)
	if err != nil {
		return err
	}
	queue, _ := h.find(q.Group)
	ids, err := s.front(ctx, queue.id, laneEnded, h.now, batch, s.skip)
	if err != nil || len(ids) == 0 {
		return err
	}
	list, keys := among(ids)
	_, err = s.exec(ctx, "DELETE FROM {events} WHERE queue_id = ? AND id IN "+list, parameters(queue.id, keys)...)
	return err
}
