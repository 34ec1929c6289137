package sqlqueue

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// consumerLife is for how long a consumer counts after it was heard of, and
// noteEvery how often that is written down.
const (
	consumerLife = 10 * time.Second
	noteEvery    = 4 * time.Second
)

// note writes down now and then that a consumer lives. Where that fails, as it
// does if the database is full, nothing else has to: the next call comes here again.
func (b *Broker) note(ctx context.Context, q driver.Queue, name string) {
	who := consumer{q, name}
	b.mu.Lock()
	recent := time.Since(b.seen[who]) < noteEvery
	b.mu.Unlock()
	if name == "" || recent {
		return
	}
	again, err := b.noteAgain(ctx, who)
	if err == nil && !again {
		err = b.noteFirst(ctx, who)
	}
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.seen) > remembered {
			clear(b.seen)
		}
		b.seen[who] = time.Now()
	}
}

// noteAgain does in one statement what there is to do for a consumer that was
// written down before. It reports false where that is not so, or not known.
func (b *Broker) noteAgain(ctx context.Context, who consumer) (bool, error) {
	queue := b.wakes.know(who.queue)
	if b.embedded || queue == 0 {
		return false, nil
	}
	n := int64(0)
	err := b.read(ctx, func(s session) (err error) {
		n, err = s.exec(ctx, "UPDATE {consumers} SET seen = "+s.now+" WHERE queue_id = ? AND name = ?", queue, blob(who.name))
		return err
	})
	return n > 0, err
}

func (b *Broker) noteFirst(ctx context.Context, who consumer) error {
	q, name := who.queue, who.name
	return b.transact(ctx, func(s session) error {
		h, err := s.head(ctx, q.Topic)
		if err != nil {
			return err
		}
		row, err := s.ensure(ctx, &h, q)
		if err != nil {
			return err
		}
		n, err := s.exec(ctx, "UPDATE {consumers} SET seen = ? WHERE queue_id = ? AND name = ?", h.now, row.id, blob(name))
		if err != nil || n > 0 {
			return err
		}
		_, err = s.exec(ctx, s.insert+" INTO {consumers} (queue_id, name, seen) VALUES (?, ?, ?)"+s.ignore, row.id, blob(name), h.now)
		if err != nil {
			return err
		}
		_, err = s.exec(ctx, "DELETE FROM {consumers} WHERE queue_id = ? AND seen < ?", row.id, h.now-micros(consumerLife))
		return err
	})
}
