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
	err := b.transact(ctx, func(s session) error {
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
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.seen) > remembered {
			clear(b.seen)
		}
		b.seen[who] = time.Now()
	}
}
