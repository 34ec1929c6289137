package redis

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// bodySize is that of every event, in bytes.
const bodySize = 100

// numberSize is how many of them are the number of the event, in digits.
const numberSize = 8

// newBody returns the body of event number i.
func newBody(i int) []byte {
	return fmt.Appendf(make([]byte, 0, bodySize), "%0*d%0*d", numberSize, i, bodySize-numberSize, 0)
}

// tally is when each of the events from a number on was first handled.
type tally struct {
	from int
	at   []atomic.Int64 // nanoseconds since 1970; 0: not yet
	left atomic.Int64
	done chan struct{} // closed when none is left
}

func newTally(from, n int) *tally {
	t := &tally{from: from, at: make([]atomic.Int64, n), done: make(chan struct{})}
	t.left.Store(int64(n))
	return t
}

// handle is called by the handlers. It passes over events that are not in the tally.
func (t *tally) handle(body []byte) {
	now := time.Now()
	if len(body) != bodySize {
		return
	}
	i, err := strconv.Atoi(string(body[:numberSize]))
	if i -= t.from; err != nil || i < 0 || i >= len(t.at) {
		return
	}
	if t.at[i].CompareAndSwap(0, now.UnixNano()) && t.left.Add(-1) == 0 {
		close(t.done)
	}
}

// wait returns when all events were handled.
func (t *tally) wait(ctx context.Context) error {
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d of %d events were not handled: %w", t.left.Load(), len(t.at), context.Cause(ctx))
	}
}

// count returns how many were handled.
func (t *tally) count() int { return len(t.at) - int(t.left.Load()) }

// last returns when the last one was.
func (t *tally) last() time.Time {
	var last int64
	for i := range t.at {
		last = max(last, t.at[i].Load())
	}
	return time.Unix(0, last)
}
