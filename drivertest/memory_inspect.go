package drivertest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// consumerLife is for how long a consumer counts that neither claims nor extends.
const consumerLife = 10 * time.Second

// Get returns one copy of a message, or an error that matches driver.ErrNotFound.
func (m *Memory) Get(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return driver.Record{}, err
	}
	of := m.topic(q.Topic, time.Now()).queue(q.Group)
	if c := of.live[id]; c != nil {
		return c.record(q), nil
	}
	if c := of.dead[id]; c != nil {
		return c.record(q), nil
	}
	return driver.Record{}, fmt.Errorf("memory: get %q of %q: %w", id, q.Topic, driver.ErrNotFound)
}

// List returns up to limit records from the given offset.
func (m *Memory) List(ctx context.Context, q driver.Queue, s driver.State, offset, limit int) ([]driver.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return nil, err
	}
	lines, ok := m.topic(q.Topic, time.Now()).queue(q.Group).lines(s)
	if !ok {
		return nil, fmt.Errorf("memory: list state %q: %w", s, driver.ErrInvalid)
	}
	if offset < 0 {
		for _, l := range lines {
			offset += len(l)
		}
	}
	end := offset + min(max(limit, 0), math.MaxInt-max(offset, 0))
	var records []driver.Record
	for _, l := range lines {
		for _, c := range l[clamp(offset, len(l)):clamp(end, len(l))] {
			records = append(records, c.record(q))
		}
		offset, end = offset-len(l), end-len(l)
	}
	return records, nil
}

// lines returns what holds the messages of a state, in the order of List.
func (q *queue) lines(s driver.State) ([]line, bool) {
	switch s {
	case driver.Ready:
		return q.ready[:], true
	case driver.Delayed:
		return []line{q.delayed}, true
	case driver.Waiting:
		return append(q.ready[:], q.delayed), true
	case driver.Running:
		return []line{q.running}, true
	case driver.Dead:
		return []line{q.buried}, true
	}
	return nil, false
}

func clamp(i, n int) int { return min(max(i, 0), n) }

// Status counts the queues of the given topics, or of all.
func (m *Memory) Status(ctx context.Context, topics ...string) ([]driver.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkOpen(ctx); err != nil {
		return nil, err
	}
	if len(topics) == 0 {
		topics = slices.Collect(maps.Keys(m.topics))
	}
	now := time.Now()
	var all []driver.Status
	for _, name := range slices.Compact(slices.Sorted(slices.Values(topics))) {
		if err := driver.CheckName("topic", name); err != nil {
			return nil, err
		}
		t := m.topic(name, now)
		for _, group := range t.groups() {
			s := t.queue(group).status(now)
			s.Queue = driver.Queue{Topic: name, Group: group}
			s.Paused = t.isPaused(group)
			all = append(all, s)
		}
	}
	return all, nil
}

func (q *queue) status(now time.Time) driver.Status {
	s := driver.Status{Delayed: len(q.delayed), Running: len(q.running), Dead: len(q.buried)}
	for _, l := range q.ready {
		s.Ready += len(l)
		if len(l) > 0 {
			s.OldestDue = max(s.OldestDue, now.Sub(l[0].due))
		}
	}
	for name, seen := range q.consumers {
		if now.Sub(seen) > consumerLife {
			delete(q.consumers, name)
		}
	}
	s.Consumers = len(q.consumers)
	return s
}
