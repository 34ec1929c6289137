package sqlqueue

import (
	"context"
	"math"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Wait returns when something was dispatched to q through this broker, when a
// Listener says that somebody else did, when a look finds something, or after d.
func (b *Broker) Wait(ctx context.Context, q driver.Queue, d time.Duration) error {
	if err := checkQueue(q); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return b.failure(ctx, err)
	}
	wake, missed := b.wakes.enter(q)
	defer b.wakes.leave(q, wake)
	if missed {
		return nil
	}
	b.startListening()
	latest := time.Now().Add(d)
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		look := time.NewTimer(b.nextLook(q))
		select {
		case <-look.C:
			soon, err := b.soonest(ctx, q, latest)
			if err != nil || soon == 0 {
				return err
			}
			end.Reset(min(soon, time.Until(latest)))
			continue
		case <-ctx.Done():
			look.Stop()
			return b.failure(ctx, ctx.Err())
		case <-wake:
		case <-end.C:
		}
		look.Stop()
		return nil
	}
}

// nextLook is how soon one who waits is to look.
func (b *Broker) nextLook(q driver.Queue) time.Duration {
	poll := b.poll
	if b.hears() {
		poll = math.MaxInt64
	}
	return b.wakes.eager(q, poll)
}

// lookTimeout is for how long after its end a Wait waits for a look that is under
// way. The claim that follows tells what is wrong with the database.
const lookTimeout = time.Second

// soonest is how long it is until a message of q is claimable: zero if one is,
// the greatest Duration if none is known.
func (b *Broker) soonest(ctx context.Context, q driver.Queue, latest time.Time) (time.Duration, error) {
	ctx, cancel := context.WithDeadline(ctx, latest.Add(lookTimeout))
	defer cancel()
	l, err := b.look(ctx, q, 1)
	if err != nil || l.paused {
		return math.MaxInt64, err
	}
	soon := time.Duration(math.MaxInt64)
	for _, head := range l.heads {
		for _, at := range head {
			soon = min(soon, max(0, span(at-l.now)))
		}
	}
	return soon, nil
}

// wake wakes the consumers of queues, here and, where the database can tell
// them, elsewhere.
func (b *Broker) wake(ctx context.Context, queues []queueRow) {
	ids := make([]int64, len(queues))
	for i, q := range queues {
		b.wakes.wake(q.Queue, false)
		ids[i] = q.id
	}
	b.notify(ctx, ids)
}
