package fanfare

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Cancel removes every copy of the event with an [ID] that waits, its retries
// included. It reports true if it removed one and none is running: the event
// will never run, and its id is free at once.
func (l *Local) Cancel(ctx context.Context, topic, id string) (bool, error) {
	t, err := l.lookup(ctx, topic, id)
	if t == nil || err != nil {
		return false, err
	}
	ok, ended := t.ids.cancel(id)
	for _, e := range ended {
		l.unhold(e)
	}
	if ok {
		l.cancelled.Add(1)
		l.config.observer.cancelled(Observation{Topic: topic, ID: id})
	}
	return ok, nil
}

// Reschedule makes every copy of the event with an [ID] that waits due at the
// given instant. It reports whether there was one.
func (l *Local) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	t, err := l.lookup(ctx, topic, id)
	if t == nil || err != nil {
		return false, err
	}
	found, refused := t.ids.reschedule(id, l.due(l.now(), 0, at))
	for _, c := range refused {
		l.refused(c)
	}
	return found, nil
}

// lookup returns the topic of an event with an id, or nil if it has no handlers.
func (l *Local) lookup(ctx context.Context, topic, id string) (*localTopic, error) {
	if ctx == nil {
		return nil, fmt.Errorf("nil context: %w", ErrInvalid)
	}
	if topic == "" {
		return nil, ErrNoTopicSpecified
	}
	if err := driver.CheckName("topic", topic); err != nil {
		return nil, err
	}
	return l.topic(topic), driver.CheckName("id", id)
}

// cancel withdraws the copies that wait, and returns whether the event will not
// run any more, and what is to be unheld.
func (n *localIDs) cancel(id string) (ok bool, ended []*localEvent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.lookup(id)
	if t == nil || t.closed {
		return false, nil
	}
	running := t.held
	for i := range t.branches {
		b := &t.branches[i]
		b.copies = slices.DeleteFunc(b.copies, func(c *localCopy) bool {
			if !n.withdraw(c) {
				running = true
				return false
			}
			ended, ok = append(ended, c.event), true
			return true
		})
		if s := b.successor; s != nil {
			b.successor = nil
			ended = append(ended, s.event)
		}
	}
	if ok && !running {
		t.branches = nil
		delete(n.known, id)
		return true, ended
	}
	n.close(t)
	return false, ended
}

// reschedule gives the copies that wait another due time.
func (n *localIDs) reschedule(id string, due int64) (found bool, refused []*localCopy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.lookup(id)
	if t == nil {
		return false, nil
	}
	for i := range t.branches {
		copies := t.branches[i].copies
		for k, c := range copies {
			fresh, ok, placed := n.move(c, c.content, due)
			if !ok {
				continue
			}
			copies[k], found = fresh, true
			if !placed {
				refused = append(refused, fresh)
			}
		}
	}
	return found, refused
}
