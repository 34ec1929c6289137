package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Push stores messages on a topic for each of its groups.
func (m *Memory) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkTopic(ctx, topic); err != nil {
		return nil, err
	}
	now := time.Now()
	t := m.topic(topic, now)
	outcomes := make([]error, len(msgs))
	for i, msg := range msgs {
		if err := m.push(t, msg, now); err != nil {
			outcomes[i] = fmt.Errorf("memory: push %q to %q: %w", msg.ID, topic, err)
		}
	}
	return outcomes, nil
}

func (m *Memory) push(t *topic, msg driver.Message, now time.Time) error {
	if err := checkMessage(msg); err != nil {
		return err
	}
	m.pushes++
	fresh := message{
		id:       msg.ID,
		body:     bytes.Clone(msg.Body),
		priority: msg.Priority,
		order:    m.pushes,
		due:      dueTime(now, msg.Delay, msg.At),
	}
	if t.merge(msg.Conflict, fresh, now) {
		return nil
	}
	if t.lives(msg.ID) || msg.Conflict == driver.KeepFirst && t.knows(msg.ID, now) {
		return driver.ErrDuplicate
	}
	for _, q := range t.receivers() {
		c := fresh
		q.insert(&c, now)
	}
	return nil
}

func checkMessage(msg driver.Message) error {
	if msg.Priority < driver.Low || msg.Priority > driver.High {
		return fmt.Errorf("priority %d: %w", msg.Priority, driver.ErrInvalid)
	}
	if msg.Conflict > driver.RunAgain {
		return fmt.Errorf("conflict %d: %w", msg.Conflict, driver.ErrInvalid)
	}
	if len(msg.Body) > maxBody {
		return fmt.Errorf("body of %d bytes, want at most %d: %w", len(msg.Body), maxBody, driver.ErrTooLarge)
	}
	return driver.CheckName("id", msg.ID)
}

// merge lets a new message change the copies that live, as c says. It reports
// whether there was one to change: that is how the new message was accepted.
func (t *topic) merge(c driver.Conflict, fresh message, now time.Time) bool {
	merged := false
	for _, q := range t.queues {
		if old := q.live[fresh.id]; old != nil && q.merge(c, old, fresh, now) {
			merged = true
		}
	}
	return merged
}

func (q *queue) merge(c driver.Conflict, old *message, fresh message, now time.Time) bool {
	switch {
	case c == driver.Replace && old.waits():
		q.lineOf(old).remove(old)
		old.state, old.body, old.priority = "", fresh.body, fresh.priority
		q.postpone(old, fresh.due, now)
	case c == driver.PushBack && old.waits():
		q.postpone(old, fresh.due, now)
	case c == driver.RunAgain && !old.waits() && old.successor == nil:
		old.successor = &fresh
	default:
		return false
	}
	return true
}
