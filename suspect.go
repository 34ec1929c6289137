package fanfare

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// How often the lease of an event may run out, because the process that handles
// it dies or freezes, before it is suspected of being the cause, and before it is
// taken to be.
const (
	suspectLostLeases = 2
	maxLostLeases     = 10
)

// alone is for how long a suspect waits for others to end, and for how long it is
// then alone: long enough for what ends a process when it begins, and not so long
// that handlers of minutes, which lost their leases with their processes and did
// nothing wrong, stop a queue.
const alone = 2 * time.Second

// lostLeases counts the leases of an event that ran out.
func lostLeases(d driver.Delivery) int { return d.Attempt - 1 - d.Failures }

// isSuspect reports that an event may be what ends its processes. What was
// handled beside it each time looks the same, so suspects are told apart by
// handling them alone.
func isSuspect(d driver.Delivery) bool {
	n := lostLeases(d)
	return n >= suspectLostLeases && n < maxLostLeases
}

// runAlone runs the handler for a suspect while no other of the consumer runs,
// and after the other suspects of the same claim were given back: if the process
// ends now, it is the one that loses its lease.
func (c *consumer) runAlone(l *lease, others []driver.Delivery) {
	c.giveBack(others)
	c.mu.Lock()
	c.hold(l)
	c.mu.Unlock()
	idle, cancel := context.WithTimeout(c.quit, alone)
	defer cancel()
	if !c.waitUntil(idle, func() bool { return c.running == 0 }) &&
		!c.waitUntil(c.quit, func() bool { return c.running < c.cfg.concurrency }) {
		c.release(l)
		return
	}
	l.ended = make(chan struct{})
	c.begin(l)
	late := time.NewTimer(alone)
	defer late.Stop()
	select {
	case <-l.ended:
	case <-late.C:
	case <-c.quit.Done():
	}
}

// giveBack releases claims for which nothing was begun. If that fails, they stay
// away for a lease.
func (c *consumer) giveBack(claims []driver.Delivery) {
	if len(claims) == 0 {
		return
	}
	all := make([]driver.Settlement, len(claims))
	for i, d := range claims {
		all[i] = driver.Settlement{Receipt: d.Receipt, Verb: driver.Release}
	}
	ctx, cancel := context.WithTimeout(c.settling, callTimeout)
	defer cancel()
	_, err := c.d.broker.Settle(ctx, c.queue, all)
	c.d.weather.report(call{c.queue, "settle"}, err)
}
