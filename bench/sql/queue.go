package sql

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// queue is a peer on one database.
type queue interface {
	insert(ctx context.Context, text string) error
	insertMany(ctx context.Context, texts []string) error
	// consume begins to call handle for events, at most so many at once. The
	// function that it returns waits until all that was handled has ended in the
	// database, and begins nothing more.
	consume(ctx context.Context, handlers int, handle func(text string)) (stop func(context.Context) error, err error)
	// left counts the events that have not ended.
	left(ctx context.Context) (int, error)
	close() error
}

// delayer is a queue whose events can be due later.
type delayer interface {
	queue
	insertAt(ctx context.Context, text string, due time.Time) error
}

// open makes the tables, if there are none, and connects.
type open func(ctx context.Context, url string) (queue, error)

// connections is how many a peer may have, and keeps when they are idle.
const connections = 20

// event is the payload for peers that encode it as JSON.
type event struct {
	Text string `json:"text"`
}

// textBytes is the length of the text of each event.
const textBytes = 100

// write returns a text that begins with a number.
func write(n int64) string {
	return fmt.Sprintf("%020d", n) + strings.Repeat("x", textBytes-20)
}

// read returns the number in a text, or -1.
func read(text string) int64 {
	n := int64(-1)
	if len(text) == textBytes {
		_, _ = fmt.Sscanf(text[:20], "%d", &n) // it stays -1
	}
	return n
}

// texts returns the texts of the numbers from up to, but without, to.
func texts(from, to int) []string {
	all := make([]string, 0, to-from)
	for n := from; n < to; n++ {
		all = append(all, write(int64(n)))
	}
	return all
}

// backlog stores n events, 100 at a time.
func backlog(ctx context.Context, q queue, n int) error {
	for from := 0; from < n; from += batch {
		if err := q.insertMany(ctx, texts(from, min(from+batch, n))); err != nil {
			return err
		}
	}
	return nil
}

// batch is how many events insertMany gets.
const batch = 100

// expect fails if other than n events are left.
func expect(ctx context.Context, q queue, n int) error {
	left, err := q.left(ctx)
	if err == nil && left != n {
		err = fmt.Errorf("%d events are left, want %d", left, n)
	}
	return err
}

// patience is for how long the events of a work are awaited.
const patience = 2 * time.Minute

// tally tells whether each of a number of events was handled.
type tally struct {
	seen []atomic.Bool
	n    atomic.Int64  // how many different ones
	all  chan struct{} // closed when all were
}

func newTally(n int) *tally { return &tally{seen: make([]atomic.Bool, n), all: make(chan struct{})} }

// handle handles the event of a text. It reports whether that is a new one.
func (t *tally) handle(text string) bool {
	i := read(text)
	if i < 0 || i >= int64(len(t.seen)) || t.seen[i].Swap(true) {
		return false
	}
	if t.n.Add(1) == int64(len(t.seen)) {
		close(t.all)
	}
	return true
}

// wait waits until all events were handled.
func (t *tally) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-t.all:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d of %d events were handled: %w", t.n.Load(), len(t.seen), ctx.Err())
	}
}
