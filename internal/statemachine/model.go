package statemachine

import (
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// group is what a broker must hold of one queue.
type group struct {
	name       string
	subscribed bool
	paused     bool
	live       map[string]*message
	dead       map[string]*letter
	known      map[string]memory
	// settled has the token of the claim whose end was the latest that happened to
	// an id: to repeat that settlement is no error.
	settled map[string]string
	fences  map[string]int64 // the greatest of each id
}

func newGroup(name string) *group {
	return &group{
		name: name, live: map[string]*message{}, dead: map[string]*letter{}, known: map[string]memory{},
		settled: map[string]string{}, fences: map[string]int64{},
	}
}

// message is a copy that waits or runs.
type message struct {
	id, body           string
	priority           driver.Priority
	due                span
	attempts, failures int
	lastError          string

	running bool   // claimed, and not settled; it waits nevertheless once the lease ended
	lease   span   // its end, while it runs
	token   string // of the claim that is valid
	kept    *message
}

// waits reports that a message is not under a lease.
func (c *message) waits(now span) bool { return !c.running || c.lease.passed(now) }

// ready reports that a claim may take it.
func (c *message) ready(now span) bool { return c.waits(now) && c.due.passed(now) }

// postpone lets a message wait. Whoever had claimed it has lost it.
func (c *message) postpone(due span) {
	c.due, c.running, c.lease, c.token = due, false, span{}, ""
}

// letter is a dead message.
type letter struct {
	message
	reason string
	died   span
}

// memory says until when an ended id is known: for sure, and perhaps, where the
// contract leaves open what became of it.
type memory struct{ sure, perhaps span }

// claim is one that was made, valid or not.
type claim struct {
	driver.Receipt
	of    *group
	copy  *message
	ended bool // by a settlement
}

// valid reports that c may still be settled.
func (c *claim) valid() bool { return c.of.live[c.ID] == c.copy && c.copy.token == c.Token }

// end removes a message that was acked or buried. What was kept waits from now on.
func (g *group) end(c *message, now span) {
	until := now.add(Window)
	seen := g.known[c.id]
	seen.perhaps = later(seen.perhaps, until)
	delete(g.live, c.id)
	if c.kept != nil {
		g.live[c.id] = c.kept
	} else {
		seen.sure = until
	}
	g.known[c.id] = seen
}

// settle carries out a settlement of a claim that is valid.
func (g *group) settle(c *message, s driver.Settlement, now span) {
	due := dueTime(now, s.Delay, s.At)
	switch s.Verb {
	case driver.Ack:
		g.end(c, now)
	case driver.Retry:
		c.failures++
		c.lastError = s.Error
		c.postpone(due)
	case driver.Release:
		c.attempts--
		c.postpone(due)
	case driver.Bury:
		c.failures++
		c.lastError = s.Error
		g.dead[c.id] = &letter{message: *c, reason: s.Reason, died: now}
		g.end(c, now)
	}
	c.token = ""
	g.settled[c.id] = s.Token
}

// forgetSurely makes what is known of an id uncertain.
func (g *group) forgetSurely(id string) {
	seen := g.known[id]
	seen.perhaps = later(seen.perhaps, seen.sure)
	seen.sure = span{}
	g.known[id] = seen
}

func dueTime(now span, delay time.Duration, at time.Time) span {
	due := now.add(delay)
	if !at.IsZero() {
		due = later(due, span{at.UnixMicro(), at.UnixMicro()})
	}
	return due
}
