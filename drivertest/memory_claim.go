package drivertest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Claim leases due messages of q, up to r.Limit.
func (m *Memory) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return driver.Claim{}, err
	}
	if r.Limit < 1 || r.Lease <= 0 {
		return driver.Claim{}, fmt.Errorf("memory: claim %d for %v: %w", r.Limit, r.Lease, driver.ErrInvalid)
	}
	now := time.Now()
	t := m.topic(q.Topic, now)
	from := t.queue(q.Group)
	from.seen(r.Consumer, now)
	if t.isPaused(q.Group) {
		return driver.Claim{Now: now, Next: -1}, nil
	}
	c := driver.Claim{Now: now}
	var claimed []*message
	for len(claimed) < r.Limit {
		next := from.take()
		if next == nil {
			break
		}
		claimed = append(claimed, next)
		c.Deliveries = append(c.Deliveries, m.claim(from, next, r, now))
	}
	if r.AtMostOnce {
		for _, one := range claimed { // only now: what RunAgain keeps is for the next claim
			from.end(one, driver.Settlement{Verb: driver.Ack}, now, m.window)
		}
	}
	c.Next = from.next(now)
	return c, nil
}

// claim gives a ready message to a consumer.
func (m *Memory) claim(q *queue, c *message, r driver.ClaimRequest, now time.Time) driver.Delivery {
	m.claims++
	c.attempts++
	c.token = strconv.FormatInt(m.claims, 36)
	d := c.delivery(m.claims)
	q.place(c, driver.Running, now.Add(r.Lease))
	return d
}

// Extend sets the leases of held claims to end one lease from now.
func (m *Memory) Extend(ctx context.Context, q driver.Queue, consumer string, lease time.Duration, held []driver.Receipt) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return nil, err
	}
	if lease <= 0 {
		return nil, fmt.Errorf("memory: extend by %v: %w", lease, driver.ErrInvalid)
	}
	now := time.Now()
	of := m.topic(q.Topic, now).queue(q.Group)
	of.seen(consumer, now)
	lost := make([]bool, len(held))
	for i, r := range held {
		c := of.live[r.ID]
		if c == nil || !c.holds(r) {
			lost[i] = true
			continue
		}
		end := now.Add(lease)
		if c.state == driver.Running {
			end = later(end, c.at)
		}
		of.place(c, driver.Running, end)
	}
	return lost, nil
}

// Wait returns when a message of q is claimable, or after d.
func (m *Memory) Wait(ctx context.Context, q driver.Queue, d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		next, changed, err := m.awaited(ctx, q)
		if err != nil || next == 0 {
			return err
		}
		due := time.NewTimer(next)
		if next < 0 {
			due.Stop()
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-due.C:
		case <-end.C:
			due.Stop()
			return nil
		}
		due.Stop()
	}
}

// awaited returns how long it is until a message of q is claimable (see
// queue.next), and a channel that is closed when that may have changed.
func (m *Memory) awaited(ctx context.Context, q driver.Queue) (time.Duration, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return 0, nil, err
	}
	now := time.Now()
	t := m.topic(q.Topic, now)
	of := t.queue(q.Group)
	if of.wake == nil {
		of.wake = make(chan struct{})
	}
	if t.isPaused(q.Group) {
		return -1, of.wake, nil
	}
	return of.next(now), of.wake, nil
}
