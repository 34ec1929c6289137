package drivertest

import (
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// topic is what is known under one name.
type topic struct {
	queues map[string]*queue // by group, subscribed or not
	paused map[string]bool   // by group; "" is the whole topic
}

// queue returns that of the group, and makes it if there is none. That alone
// subscribes nobody.
func (t *topic) queue(group string) *queue {
	q := t.queues[group]
	if q == nil {
		q = newQueue()
		t.queues[group] = q
	}
	return q
}

// remove empties and unsubscribes the group. The ids of what it had ended stay
// known: they are the topic's.
func (t *topic) remove(group string) {
	if old := t.queues[group]; old != nil {
		fresh := newQueue()
		fresh.ended = old.ended
		t.queues[group] = fresh
		old.changed()
	}
	delete(t.paused, group)
}

// receivers returns the queues that a push stores a copy in.
func (t *topic) receivers() []*queue {
	var qs []*queue
	for _, q := range t.queues {
		if q.subscribed {
			qs = append(qs, q)
		}
	}
	if len(qs) == 0 {
		qs = append(qs, t.queue(driver.DefaultGroup))
	}
	return qs
}

// groups returns, sorted, those that are subscribed or hold something, or
// DefaultGroup if there is none.
func (t *topic) groups() []string {
	var names []string
	for name, q := range t.queues {
		if q.subscribed || len(q.live)+len(q.dead) > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = append(names, driver.DefaultGroup)
	}
	slices.Sort(names)
	return names
}

// lives reports that a message of the id waits or runs.
func (t *topic) lives(id string) bool {
	for _, q := range t.queues {
		if q.live[id] != nil {
			return true
		}
	}
	return false
}

// knows reports that a message of the id waits or runs, or ended within the window.
func (t *topic) knows(id string, now time.Time) bool {
	for _, q := range t.queues {
		if q.live[id] != nil || q.ended.known(id, now) {
			return true
		}
	}
	return false
}

func (t *topic) isPaused(group string) bool { return t.paused[""] || t.paused[group] }

// changed wakes everyone who waits for a message of the topic.
func (t *topic) changed() {
	for _, q := range t.queues {
		q.changed()
	}
}
