package fanfare

import (
	"context"
	"sync/atomic"
	"time"
)

// localContext is the context of one call of a handler. It ends when Stop gives
// up waiting.
type localContext interface {
	context.Context
	deliverySource
	handledBy() *localHandler
	who() *identity
	failures() int // of the event, before
	due() int64    // see Local.now
}

// callContext is what all contexts of handlers have.
type callContext struct {
	h *localHandler
}

func (c callContext) Deadline() (time.Time, bool) { return c.h.l.run.Deadline() }
func (c callContext) Done() <-chan struct{}       { return c.h.l.run.Done() }
func (c callContext) Err() error                  { return c.h.l.run.Err() }
func (c callContext) handledBy() *localHandler    { return c.h }

// String is for those who print a context.
func (c callContext) String() string { return "fanfare.Local handler of " + quoteName(c.h.t.name) }

// value also lets context.Cause and contexts derived from own find what they
// need in the dispatcher's.
func (c callContext) value(key any, own localContext) any {
	if _, ok := key.(deliveryKey); ok {
		return own
	}
	return c.h.l.run.Value(key)
}

func (c callContext) delivery(own localContext, content *localContent) Delivery {
	failures := own.failures()
	return Delivery{
		ID:           own.who().get(),
		Topic:        c.h.t.name,
		Group:        c.h.group,
		Attempt:      failures + 1,
		Fence:        int64(failures) + 1,
		Failures:     failures,
		MaxAttempts:  c.h.attempts(content),
		Priority:     content.priority,
		DispatchedAt: c.h.l.wall(content.dispatched),
		DueAt:        c.h.l.wall(own.due()),
		Headers:      content.headers,
	}
}

// plainContext is the context of an event without a copy. There is one for each
// call that a handler may keep, so it is small: the rest is in its run.
type plainContext struct {
	run *contextRun
}

// contextRun is the contexts of one handler for some events without copies.
type contextRun struct {
	callContext
	from *originRun
	each [runLength]plainContext // as in from
}

// originRun is what the handlers of some events without copies may know of them.
type originRun struct {
	at    int64                               // when the first one was dispatched
	later [runLength]int32                    // how many nanoseconds later each was
	ids   atomic.Pointer[[runLength]identity] // once somebody asked for one
}

// runLength is how many events a run is for: so that the contexts of one are 1 KiB.
const runLength = 126

func (r *originRun) dispatched(i int) int64 { return r.at + int64(r.later[i]) }

// identity returns that of the event with a place in the run.
func (r *originRun) identity(i int) *identity {
	if r.ids.Load() == nil {
		r.ids.CompareAndSwap(nil, new([runLength]identity))
	}
	return &r.ids.Load()[i]
}

// place finds out which event of the run the context is for.
func (c *plainContext) place() int {
	for i := range c.run.each {
		if c == &c.run.each[i] {
			return i
		}
	}
	return 0
}

func (c *plainContext) Deadline() (time.Time, bool) { return c.run.Deadline() }
func (c *plainContext) Done() <-chan struct{}       { return c.run.Done() }
func (c *plainContext) Err() error                  { return c.run.Err() }
func (c *plainContext) String() string              { return c.run.String() }
func (c *plainContext) Value(key any) any           { return c.run.value(key, c) }
func (c *plainContext) handledBy() *localHandler    { return c.run.h }
func (c *plainContext) who() *identity              { return c.run.from.identity(c.place()) }
func (c *plainContext) failures() int               { return 0 }
func (c *plainContext) due() int64                  { return c.run.from.dispatched(c.place()) }

func (c *plainContext) delivery() Delivery {
	return c.run.delivery(c, &localContent{dispatched: c.due()})
}

// copyContext is the context of a copy.
type copyContext struct {
	callContext
	copy *localCopy
}

func (c *copyContext) Value(key any) any  { return c.value(key, c) }
func (c *copyContext) who() *identity     { return &c.copy.event.identity }
func (c *copyContext) failures() int      { return c.copy.failures() }
func (c *copyContext) due() int64         { return c.copy.due }
func (c *copyContext) delivery() Delivery { return c.callContext.delivery(c, c.copy.content) }

// inside reports whether ctx is that of a handler, of whatever dispatcher.
func inside(ctx context.Context) bool { return ctx.Value(deliveryKey{}) != nil }
