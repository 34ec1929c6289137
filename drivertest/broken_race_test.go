package drivertest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var raceDefects = []defect{
	{"claims overlap", "race/no two claimers get the same message", func(b *broken) {
		var last atomic.Pointer[driver.Delivery]
		var claims atomic.Int64
		b.onClaim = func(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
			c, err := b.Memory.Claim(ctx, q, r)
			if again := last.Load(); again != nil && len(c.Deliveries) > 0 && claims.Add(1)%100 == 0 {
				c.Deliveries[0] = *again
			}
			if len(c.Deliveries) > 0 {
				last.Store(&c.Deliveries[0])
			}
			return c, err
		}
	}},
	{"push looks and then stores", "race/of pushes of one id at a time one is accepted", func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			b.mu.Lock()
			known := b.Memory.topic(topic, time.Now()).knows(msgs[0].ID, time.Now())
			b.mu.Unlock()
			<-time.After(time.Millisecond)
			outcomes, err := b.Memory.Push(ctx, topic, msgs)
			if !known {
				outcomes[0] = nil
			}
			return outcomes, err
		}
	}},
	{"cancel looks and then removes", "race/a message is either canceled or claimed", func(b *broken) {
		b.onCancel = func(ctx context.Context, topic, id string) (bool, error) {
			waits := false
			b.editAll(topic, func(q *queue) { waits = waits || q.live[id] != nil && q.live[id].waits() })
			<-time.After(time.Millisecond)
			_, err := b.Memory.Cancel(ctx, topic, id)
			return waits, err
		}
	}},
	{"release forgets failures", "model/a random walk keeps the invariants, seed 1",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if m := q.live[s.ID]; m != nil && s.Verb == driver.Release {
				m.failures = 0
			}
		})},
	{"reopen shows another state", "reopen/what one process pushed another claims", func(*broken) {}},
}
