package sqlqueue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Listener receives the notifications of a PostgreSQL server (LISTEN), which
// database/sql cannot. Package pgxlisten has one.
type Listener interface {
	// Listen listens to a channel on a connection of its own. It calls
	// listening when it does, and heard with the payload of each notification,
	// until ctx ends or the connection is lost. Then it returns.
	Listen(ctx context.Context, channel string, listening func(), heard func(payload string)) error
}

// WithListener lets consumers sleep until PostgreSQL tells them of a dispatch by
// another process, instead of looking every [WithPollInterval]. The broker starts
// a goroutine when it first waits, which ends with Close. Without a connection,
// and until there is one again, it polls.
func WithListener(l Listener) Option {
	return func(o *options) error {
		if l == nil {
			return fmt.Errorf("sqlqueue: nil Listener: %w", driver.ErrInvalid)
		}
		o.listener = l
		return nil
	}
}

// notes are the notifications that are to be sent. Only one is under way at a
// time; those that come meanwhile go out together after it.
type notes struct {
	mu      sync.Mutex
	pending *note
	sending chan struct{} // taken by whoever sends
}

// note is one notification about several queues.
type note struct {
	queues map[int64]struct{}
	sent   bool // of whoever sends
}

// join adds queues to the note that is to be sent next.
func (n *notes) join(ids []int64) *note {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending == nil {
		n.pending = &note{queues: map[int64]struct{}{}}
	}
	for _, id := range ids {
		n.pending.queues[id] = struct{}{}
	}
	return n.pending
}

// take returns the queues of a note, to which nobody can add any more.
func (n *notes) take(it *note) []int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = nil
	return slices.Sorted(maps.Keys(it.queues))
}

// notify tells all processes that listen that queues have something new. It is
// sent apart from the transaction that stored it, because PostgreSQL lets only
// one transaction that notifies commit at a time. One that fails is made up for
// by the next look of the consumers.
func (b *Broker) notify(ctx context.Context, ids []int64) {
	if b.dialect != Postgres || len(ids) == 0 {
		return
	}
	mine := b.notes.join(ids)
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	select {
	case b.notes.sending <- struct{}{}:
		defer func() { <-b.notes.sending }()
	case <-ctx.Done():
		return
	}
	if mine.sent {
		return
	}
	mine.sent = true
	ids = b.notes.take(mine)
	_ = b.read(ctx, func(s session) error { return s.notify(ctx, ids) })
}

// notifyTimeout bounds how long a dispatch waits for the notification about it.
const notifyTimeout = time.Second

// notify sends a notification for each queue, when the transaction commits.
func (s session) notify(ctx context.Context, ids []int64) error {
	for _, id := range ids {
		if err := s.each(ctx, ignore, "SELECT pg_notify(?, ?)", s.channel(), strconv.FormatInt(id, 10)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) channel() string { return b.prefix + "events" }
