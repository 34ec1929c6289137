package fanfare

import (
	"context"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// lease is a claimed event from its claim until its result has been reported.
type lease struct {
	driver.Delivery
	late    time.Duration // when it was claimed
	claimed time.Time

	ended  chan struct{}           // closed when the handler has ended; may be nil
	cancel context.CancelCauseFunc // set before the handler starts

	mu   sync.Mutex
	lost bool

	// Guarded by the consumer's mu.
	trusted  time.Time // until when the lease is relied upon
	reported bool      // its result is with the settler
	inTx     bool      // a transaction decides about it, see Tx.Ack
}

// trust is how long after a call that took or renewed a lease began the lease
// is relied upon: the rest of it is for the difference between the clocks of
// this process and the backend.
func trust(lease time.Duration) time.Duration { return lease - lease/10 }

// newLease makes the lease of an event that was claimed at now, by the clock of
// the backend.
func newLease(d driver.Delivery, now, trusted time.Time) *lease {
	return &lease{Delivery: d, late: now.Sub(d.Due), claimed: time.Now(), trusted: trusted}
}

// expiry is the timer of the lease that is trusted for the shortest time.
type expiry struct {
	timer *time.Timer
	at    time.Time // zero if it is not running
}

func (e *expiry) stop() {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.at = time.Time{}
}

// hold begins to keep a lease. It is called with mu held.
func (c *consumer) hold(l *lease) {
	if c.cfg.atMostOnce {
		return
	}
	c.held[l] = struct{}{}
	c.watch(l)
}

// watch lets expire be called when the lease is no longer trusted. It is called
// with mu held.
func (c *consumer) watch(l *lease) {
	e := &c.expiry
	if !e.at.IsZero() && !l.trusted.Before(e.at) {
		return
	}
	e.at = l.trusted
	if in := time.Until(e.at); e.timer == nil {
		e.timer = time.AfterFunc(in, c.expire)
	} else {
		e.timer.Reset(in)
	}
}

// expire gives up leases that were not renewed for as long as they are trusted.
func (c *consumer) expire() {
	var lost []*lease
	c.mu.Lock()
	c.expiry.at = time.Time{}
	now := time.Now()
	for l := range c.held {
		switch {
		case l.inTx || l.trusted.IsZero():
		case l.trusted.After(now):
			c.watch(l)
		default:
			l.trusted = time.Time{}
			lost = append(lost, l)
		}
	}
	c.mu.Unlock()
	for _, l := range lost {
		c.lose(l)
	}
}

// drop ends the keeping of leases.
func (c *consumer) drop(batch []result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range batch {
		delete(c.held, r.lease)
	}
}

// ackIn lets ack say in a transaction that the event of l is done. From then on,
// unless that fails, the transaction decides about the event.
func (c *consumer) ackIn(l *lease, ack func() error) error {
	if !c.enterTx(l) {
		return ErrLeaseLost
	}
	err := ack()
	if err != nil {
		c.mu.Lock()
		l.inTx = false
		if _, ok := c.held[l]; ok && !l.trusted.IsZero() {
			c.watch(l)
		}
		c.mu.Unlock()
	}
	return err
}

// enterTx reports false if the event is no longer this consumer's to decide about.
func (c *consumer) enterTx(l *lease) bool {
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if lost || l.reported || c.abandoned {
		return false
	}
	l.inTx = true
	return true
}

// leaveToTx ends the keeping of a lease if a transaction decides about its event.
func (c *consumer) leaveToTx(l *lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.inTx {
		return false
	}
	l.reported = true
	delete(c.held, l)
	return true
}

// lose tells the handler that another process may have the event.
func (c *consumer) lose(l *lease) {
	l.mu.Lock()
	again := l.lost
	l.lost = true
	cancel := l.cancel
	l.mu.Unlock()
	if again {
		return
	}
	if cancel != nil {
		cancel(ErrLeaseLost)
	}
	c.d.leaseLost.Add(1)
	c.d.observer.leaseLost(c.observe(l))
	c.d.logger.Warn("fanfare: lease lost", "topic", c.queue.Topic, "group", c.queue.Group, "event_id", l.ID, "attempt", l.Attempt)
}

// expired reports whether a lease is no longer trusted: after a freeze the timer
// that says so is late.
func (c *consumer) expired(l *lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.cfg.atMostOnce && !l.trusted.After(time.Now())
}

func (l *lease) isLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// canceled lets cancel be called when the lease is lost, at once if it is.
func (l *lease) canceled(cancel context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel = cancel
	if l.lost {
		cancel(ErrLeaseLost)
	}
}

// keepLeases renews all leases five times in their length, until ctx ends. With
// the trust in a lease that lets a process or the backend be away for two thirds
// of a lease, at whatever moment.
func (c *consumer) keepLeases(ctx context.Context) {
	every := c.cfg.lease / 5
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		pause := retryPause{most: every / 4} // so that what comes back is noticed in time
		for c.extend(ctx, every) != nil && ctx.Err() == nil {
			pause.wait(ctx) // not as long as until the next tick
		}
	}
}

// extend renews all leases in one call.
func (c *consumer) extend(ctx context.Context, timeout time.Duration) error {
	c.mu.Lock()
	leases := make([]*lease, 0, len(c.held))
	receipts := make([]driver.Receipt, 0, len(c.held))
	for l := range c.held {
		leases, receipts = append(leases, l), append(receipts, l.Receipt)
	}
	c.mu.Unlock()
	if len(leases) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	before := time.Now()
	lost, err := c.d.broker.Extend(ctx, c.queue, c.d.name, c.cfg.lease, receipts)
	if err != nil {
		return err
	}
	for i, l := range leases {
		if lost[i] {
			if c.runs(l) { // else its settlement or transaction tells
				c.lose(l)
			}
			continue
		}
		c.renewed(l, before.Add(trust(c.cfg.lease)))
	}
	return nil
}

// runs reports whether the handler of l has no result yet, nor one in a transaction.
func (c *consumer) runs(l *lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, held := c.held[l]
	return held && !l.reported && !l.inTx
}

// renewed moves the time at which the handler is told that its lease is lost.
func (c *consumer) renewed(l *lease, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.held[l]; ok {
		l.trusted = until
		c.watch(l)
	}
}
