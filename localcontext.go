package fanfare

import (
	"context"
	"time"
)

// contextSlab is how many contexts a worker makes at a time.
const contextSlab = 64

// localContext is the context of one call of a handler. It ends when Stop gives
// up waiting.
type localContext struct {
	h    *localHandler
	copy *localCopy // nil for an event without
	at   int64      // when an event without a copy was dispatched
	who  *identity
	own  identity // for who, in the first call of an event without a copy
}

func (c *localContext) Deadline() (time.Time, bool) { return c.h.l.run.Deadline() }
func (c *localContext) Done() <-chan struct{}       { return c.h.l.run.Done() }
func (c *localContext) Err() error                  { return c.h.l.run.Err() }

// Value also lets context.Cause and contexts derived from this one find what
// they need in the dispatcher's.
func (c *localContext) Value(key any) any {
	if _, ok := key.(deliveryKey); ok {
		return c
	}
	return c.h.l.run.Value(key)
}

// String is for those who print a context.
func (c *localContext) String() string { return "fanfare.Local handler of " + quoteName(c.h.t.name) }

func (c *localContext) delivery() Delivery {
	content, failures := c.content(), c.copy.failures()
	return Delivery{
		ID:           c.who.get(),
		Topic:        c.h.t.name,
		Group:        c.h.group,
		Attempt:      failures + 1,
		Fence:        int64(failures) + 1,
		Failures:     failures,
		MaxAttempts:  c.h.attempts(&content),
		Priority:     content.priority,
		DispatchedAt: c.h.l.wall(content.dispatched),
		DueAt:        c.h.l.wall(c.due()),
		Headers:      content.headers,
	}
}

// content returns what is known of the event but its payload.
func (c *localContext) content() localContent {
	if c.copy == nil {
		return localContent{dispatched: c.at}
	}
	return *c.copy.content
}

func (c *localContext) due() int64 {
	if c.copy == nil {
		return c.at
	}
	return c.copy.due
}

// inside reports whether ctx is that of a handler, of whatever dispatcher.
func inside(ctx context.Context) bool { return ctx.Value(deliveryKey{}) != nil }
