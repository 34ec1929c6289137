package fanfare

import (
	"sync/atomic"
)

// identity is the id of an event, made when somebody asks for it first.
type identity struct {
	id atomic.Pointer[string]
}

func (i *identity) get() string {
	if id := i.id.Load(); id != nil {
		return *id
	}
	id := NewID()
	if i.id.CompareAndSwap(nil, &id) {
		return id
	}
	return *i.id.Load()
}

// localEvent is what the copies of one accepted event share. It holds one unit
// of [WithMaxQueued] until the last of them has ended.
type localEvent struct {
	identity
	tracked *trackedID   // nil without an id of its own
	holds   atomic.Int32 // the copies that live, and who is about to make more
	dropped atomic.Bool  // was reported before any handler ran
}

// localContent is what one dispatch said of an event. It does not change:
// [Replace] gives a copy another one.
type localContent struct {
	event       any
	headers     map[string]string
	dispatched  int64 // see Local.now
	maxAttempts int32 // 0: the handler's
	priority    Priority
}

// localCopy is the part of an event that one lane handles, or that one handler
// tries again. An event that needs none of this, because it has no options and
// goes to one lane, has no localCopy until a handler fails.
type localCopy struct {
	event   *localEvent
	content *localContent
	to      *audience
	due     int64         // see Local.now
	failed  *localFailure // nil before the first
	state   atomic.Int32

	pos int // in the heap of the timers, from 1; 0: not there; under their lock
}

func (c *localCopy) ready(int64) *localCopy { return c }
func (c *localCopy) audience() *audience    { return c.to }

// delayedEvent is an event of which nothing is known but its delay, while it
// waits: most of what waits is that, and there may be millions.
type delayedEvent[T any] struct {
	event T
	to    *audience
	at    int64 // when it was dispatched: see Local.now
}

func (e *delayedEvent[T]) audience() *audience { return e.to }

func (e *delayedEvent[T]) ready(due int64) *localCopy {
	p := &localParcel{content: localContent{event: e.event, dispatched: e.at}}
	p.event.holds.Store(1)
	p.first.event, p.first.content, p.first.to, p.first.due = &p.event, &p.content, e.to, due
	return &p.first
}

// The states of a localCopy. Whoever changes it from copyWaits owns what
// follows: to run it, or to end it.
const (
	copyWaits int32 = iota
	copyRuns
	copyGone
)

// start claims the copy for a worker.
func (c *localCopy) start() bool { return c.state.CompareAndSwap(copyWaits, copyRuns) }

// withdraw claims the copy for somebody who ends it or puts another one in its place.
func (c *localCopy) withdraw() bool { return c.state.CompareAndSwap(copyWaits, copyGone) }

// moved returns a copy that takes the place of c, which was withdrawn.
func (c *localCopy) moved(content *localContent, due int64) *localCopy {
	return &localCopy{event: c.event, content: content, to: c.to, due: due, failed: c.failed}
}

// failures counts the attempts that failed. A copy may be nil: that of an event
// which has none yet.
func (c *localCopy) failures() int {
	if c == nil || c.failed == nil {
		return 0
	}
	return c.failed.count
}

// localFailure is what is known of the attempts of a copy that waits to be tried
// again.
type localFailure struct {
	count int
	err   error // of the last one
}

// localParcel is an event with its first copy, in one allocation.
type localParcel struct {
	event   localEvent
	content localContent
	first   localCopy
}
