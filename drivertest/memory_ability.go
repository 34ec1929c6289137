package drivertest

import (
	"context"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Cancel removes every copy of the message that waits, and what RunAgain keeps
// beside one that runs.
func (m *Memory) Cancel(ctx context.Context, topic, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkID(ctx, topic, id); err != nil {
		return false, err
	}
	t := m.topic(topic, time.Now())
	removed, running := false, false
	for _, q := range t.queues {
		switch c := q.live[id]; {
		case c == nil:
		case c.waits():
			q.drop(c)
			removed = true
		default:
			c.successor = nil
			running = true
		}
	}
	if !removed || running {
		return false, nil
	}
	for _, q := range t.queues {
		q.ended.forget(id)
	}
	return true, nil
}

// Reschedule makes every copy that waits due at the given instant, or now if
// that has passed, and what RunAgain keeps beside one that runs.
func (m *Memory) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkID(ctx, topic, id); err != nil {
		return false, err
	}
	now, found := time.Now(), false
	for _, q := range m.topic(topic, now).queues {
		switch c := q.live[id]; {
		case c == nil:
		case c.waits():
			q.postpone(c, later(now, at), now)
			found = true
		case c.successor != nil:
			c.successor.due = later(now, at)
			found = true
		}
	}
	return found, nil
}

// Requeue lets dead messages wait again.
func (m *Memory) Requeue(ctx context.Context, q driver.Queue, ids ...string) ([]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return nil, err
	}
	now := time.Now()
	of := m.topic(q.Topic, now).queue(q.Group)
	outcomes := make([]error, len(ids))
	for i, id := range ids {
		if err := of.requeue(id, now); err != nil {
			outcomes[i] = fmt.Errorf("memory: requeue %q of %q: %w", id, q.Topic, err)
		}
	}
	return outcomes, nil
}

func (q *queue) requeue(id string, now time.Time) error {
	c := q.dead[id]
	if c == nil {
		return driver.ErrNotFound
	}
	if q.live[id] != nil {
		return driver.ErrDuplicate
	}
	delete(q.dead, id)
	q.buried.remove(c)
	c.state, c.attempts, c.failures, c.lastError, c.reason = "", 0, 0, "", ""
	c.due = now
	q.insert(c, now)
	return nil
}

// DeleteDead removes dead messages and returns how many there were.
func (m *Memory) DeleteDead(ctx context.Context, q driver.Queue, ids ...string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return 0, err
	}
	of, deleted := m.topic(q.Topic, time.Now()).queue(q.Group), 0
	for _, id := range ids {
		if c := of.dead[id]; c != nil {
			delete(of.dead, id)
			of.buried.remove(c)
			deleted++
		}
	}
	return deleted, nil
}

// Purge removes what waits and what runs, and returns how many there were.
func (m *Memory) Purge(ctx context.Context, q driver.Queue) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return 0, err
	}
	of := m.topic(q.Topic, time.Now()).queue(q.Group)
	purged := len(of.live)
	clear(of.live)
	of.ready, of.delayed, of.running = [3]line{}, nil, nil
	return purged, nil
}

// Pause pauses a group of a topic, or the whole topic where q.Group is empty.
func (m *Memory) Pause(ctx context.Context, q driver.Queue) error {
	return m.setPaused(ctx, q, true)
}

// Resume ends what Pause with the same q began.
func (m *Memory) Resume(ctx context.Context, q driver.Queue) error {
	return m.setPaused(ctx, q, false)
}

func (m *Memory) setPaused(ctx context.Context, q driver.Queue, paused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkTopic(ctx, q.Topic); err != nil {
		return err
	}
	if q.Group != "" {
		if err := driver.CheckName("group", q.Group); err != nil {
			return err
		}
	}
	t := m.topic(q.Topic, time.Now())
	t.paused[q.Group] = paused
	t.changed()
	return nil
}

func (m *Memory) checkID(ctx context.Context, topic, id string) error {
	if err := m.checkTopic(ctx, topic); err != nil {
		return err
	}
	return driver.CheckName("id", id)
}
