package sqlqueue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	last    time.Time      // when one was sent
	sending chan struct{}  // taken by whoever sends
	late    sync.WaitGroup // of those that are sent later
}

// note is one notification about several queues.
type note struct {
	queues map[int64]struct{}
	done   chan struct{} // closed by who sent it, or could not
}

// join adds queues to the note that is to be sent next. It returns how long that
// has to wait, and whether it was made by this call.
func (n *notes) join(ids []int64) (mine *note, wait time.Duration, made bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if made = n.pending == nil; made {
		n.pending = &note{queues: map[int64]struct{}{}, done: make(chan struct{})}
	}
	for _, id := range ids {
		n.pending.queues[id] = struct{}{}
	}
	return n.pending, notifyEvery - time.Since(n.last), made
}

// take returns the queues of a note, to which nobody can add any more.
func (n *notes) take(it *note) []int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending == it {
		n.pending = nil
	}
	n.last = time.Now()
	return slices.Sorted(maps.Keys(it.queues))
}

// notify tells all processes that listen that queues have something new. It is
// sent apart from the transaction that stored it, because PostgreSQL lets only
// one transaction that notifies commit at a time. It waits until it is sent, but
// not where one was sent just before: then the next follows a little later, for
// all of that time. One that fails is made up for by the next look of the consumers.
func (b *Broker) notify(ctx context.Context, ids []int64) {
	if b.dialect != Postgres || len(ids) == 0 {
		return
	}
	mine, wait, made := b.notes.join(ids)
	switch {
	case wait <= 0:
		b.send(ctx, mine)
	case made:
		b.notes.late.Go(func() {
			<-time.After(wait)
			b.send(context.Background(), mine)
		})
	}
}

// send sends a note, if nobody else does.
func (b *Broker) send(ctx context.Context, mine *note) {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	select {
	case b.notes.sending <- struct{}{}:
		defer func() { <-b.notes.sending }()
	case <-mine.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-mine.done:
		return
	default:
	}
	ids := b.notes.take(mine)
	err := b.read(ctx, func(s session) error { return s.notify(ctx, ids) })
	if err == nil || ctx.Err() == nil {
		close(mine.done) // else the next who waits for it has more time
	}
}

// notifyTimeout bounds how long a dispatch waits for the notification about it,
// and notifyEvery how many are sent.
const (
	notifyTimeout = time.Second
	notifyEvery   = 2 * time.Millisecond
)

// notify sends a notification about queues, when the transaction commits. It is
// a list of their ids.
func (s session) notify(ctx context.Context, ids []int64) error {
	for some := range slices.Chunk(ids, notifyIDs) {
		list := make([]string, len(some))
		for i, id := range some {
			list[i] = strconv.FormatInt(id, 10)
		}
		if err := s.each(ctx, ignore, "SELECT pg_notify(?, ?)", s.channel(), strings.Join(list, " ")); err != nil {
			return err
		}
	}
	return nil
}

// notifyIDs is how many ids fit into the 8000 bytes of a notification.
const notifyIDs = 300

func (b *Broker) channel() string { return b.prefix + "events" }
