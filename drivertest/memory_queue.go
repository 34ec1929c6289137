package drivertest

import (
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// queue holds one group's copies of the messages of a topic.
type queue struct {
	subscribed bool
	live       map[string]*message // what waits or runs
	dead       map[string]*message
	ended      endings

	ready   [3]line // High, Normal, Low
	delayed line
	running line
	buried  line
	turn    rota

	consumers map[string]time.Time // when each was last seen
	wake      chan struct{}        // closed when something may be claimable sooner; nil: nobody waits
}

func newQueue() *queue {
	return &queue{live: map[string]*message{}, dead: map[string]*message{}, consumers: map[string]time.Time{}}
}

// advance makes ready what is due at the instant now, and what was claimed
// under a lease that ended. It is why nobody has to notice either.
func (q *queue) advance(now time.Time) {
	for m := q.delayed.reached(now); m != nil; m = q.delayed.reached(now) {
		q.place(m, driver.Ready, m.due)
	}
	for m := q.running.reached(now); m != nil; m = q.running.reached(now) {
		q.place(m, driver.Ready, m.due)
	}
}

// insert adds a message that waits until it is due.
func (q *queue) insert(m *message, now time.Time) {
	q.live[m.id] = m
	q.postpone(m, m.due, now)
}

// postpone lets m wait until due. Whoever had claimed it has lost it.
func (q *queue) postpone(m *message, due, now time.Time) {
	m.due, m.token = due, ""
	if due.After(now) {
		q.place(m, driver.Delayed, due)
	} else {
		q.place(m, driver.Ready, due)
	}
	q.changed()
}

// drop removes m, which waits or runs.
func (q *queue) drop(m *message) {
	q.lineOf(m).remove(m)
	m.state = ""
	delete(q.live, m.id)
}

// place moves m from its line, if it is in one, to that of the state s.
func (q *queue) place(m *message, s driver.State, at time.Time) {
	if m.state != "" {
		q.lineOf(m).remove(m)
	}
	m.state, m.at = s, at
	q.lineOf(m).add(m)
}

func (q *queue) lineOf(m *message) *line {
	switch m.state {
	case driver.Ready:
		return &q.ready[driver.High-m.priority]
	case driver.Delayed:
		return &q.delayed
	case driver.Running:
		return &q.running
	default:
		return &q.buried
	}
}

// next is how long after now a message becomes claimable: zero if one is,
// negative if none will be.
func (q *queue) next(now time.Time) time.Duration {
	for _, l := range q.ready {
		if len(l) > 0 {
			return 0
		}
	}
	next := time.Duration(-1)
	for _, l := range []line{q.delayed, q.running} {
		if len(l) == 0 {
			continue
		}
		if d := l[0].at.Sub(now); next < 0 || d < next {
			next = d
		}
	}
	return next
}

// changed wakes those who wait for something to claim.
func (q *queue) changed() {
	if q.wake != nil {
		close(q.wake)
		q.wake = nil
	}
}

// seen notes that a consumer is alive.
func (q *queue) seen(consumer string, now time.Time) {
	if consumer != "" {
		q.consumers[consumer] = now
	}
}
