package drivertest

import (
	"context"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Settle ends claims, each on its own.
func (m *Memory) Settle(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return nil, err
	}
	now := time.Now()
	of := m.topic(q.Topic, now).queue(q.Group)
	outcomes := make([]error, len(s))
	for i, one := range s {
		if err := of.settle(one, now, m.window); err != nil {
			outcomes[i] = fmt.Errorf("memory: settle %q of %q: %w", one.ID, q.Topic, err)
		}
	}
	return outcomes, nil
}

func (q *queue) settle(s driver.Settlement, now time.Time, window time.Duration) error {
	if s.Verb > driver.Bury {
		return fmt.Errorf("verb %d: %w", s.Verb, driver.ErrInvalid)
	}
	if m := q.live[s.ID]; m != nil && m.holds(s.Receipt) {
		q.end(m, s, now, window)
		return nil
	}
	if q.settled(s.Receipt) {
		return nil
	}
	return driver.ErrLeaseLost
}

// settled reports that the claim was ended by a settlement, not by the loss of its lease.
func (q *queue) settled(r driver.Receipt) bool {
	if r.Token == "" {
		return false
	}
	for _, m := range []*message{q.live[r.ID], q.dead[r.ID]} {
		if m != nil && m.ended == r.Token {
			return true
		}
	}
	return q.ended.byID[r.ID].token == r.Token
}

// end carries out a settlement of m, whose latest claim it ends.
func (q *queue) end(m *message, s driver.Settlement, now time.Time, window time.Duration) {
	m.token, m.ended = "", m.token
	switch s.Verb {
	case driver.Ack:
		q.drop(m)
		q.complete(m, now, window)
	case driver.Retry:
		m.fail(s)
		q.postpone(m, dueTime(now, s.Delay, s.At), now)
	case driver.Release:
		m.attempts--
		q.postpone(m, dueTime(now, s.Delay, s.At), now)
	case driver.Bury:
		m.fail(s)
		m.reason = s.Reason
		q.bury(m, now)
		q.complete(m, now, window)
	}
}

// fail counts a failure. Without a text it keeps that of the one before.
func (m *message) fail(s driver.Settlement) {
	m.failures++
	if s.Error != "" {
		m.lastError = s.Error
	}
}

// bury moves m to the dead letters, in the place of an older one of its id.
func (q *queue) bury(m *message, now time.Time) {
	if old := q.dead[m.id]; old != nil {
		q.buried.remove(old)
	}
	delete(q.live, m.id)
	q.dead[m.id] = m
	q.place(m, driver.Dead, now)
}

// complete makes the id of m, which was acked or buried, known for the window,
// and lets the message wait that RunAgain kept beside it.
func (q *queue) complete(m *message, now time.Time, window time.Duration) {
	q.ended.remember(m.id, m.ended, now, window)
	if s := m.successor; s != nil {
		m.successor = nil
		q.insert(s, now)
	}
}
