package fanfare

import (
	"context"
	"fmt"
)

// stopBit is set in Local.queued once Stop was called. From then on no unit is
// handed out, so that all is done when the last one has come back.
const stopBit = 1 << 62

// reserve takes a unit of [WithMaxQueued].
func (l *Local) reserve() error {
	for {
		n := l.queued.Load()
		switch {
		case n&stopBit != 0:
			return ErrStopped
		case n >= int64(l.config.maxQueued):
			if !l.collect() && l.queued.Load() == n { // nobody else gave any back either
				return ErrMaxQueuedEventsReached
			}
		case l.queued.CompareAndSwap(n, n+1):
			return nil
		}
	}
}

// release gives units back. The caller holds no lock: the last unit after Stop
// ends the workers.
func (l *Local) release(n int) {
	if l.giveBack(n) {
		l.finish()
	}
}

// giveBack is release for a caller that holds a lock. It reports whether the
// caller has to finish once it has unlocked that.
func (l *Local) giveBack(n int) (last bool) { return n > 0 && l.queued.Add(-int64(n)) == stopBit }

// unhold ends one of the holds on an event.
func (l *Local) unhold(e *localEvent) {
	if e.holds.Add(-1) == 0 {
		l.release(1)
	}
}

func (l *Local) stopping() bool { return l.queued.Load()&stopBit != 0 }

// Stop refuses new events, lets what is due be handled, and drops what is
// delayed or waits for a retry: [WithOnDrop] gets it and the *StopError counts
// it. See [Dispatcher].Stop. If ctx ends first, ready events are dropped too.
func (l *Local) Stop(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("stop: nil context: %w", ErrInvalid)
	}
	l.begin()
	err := l.wait(ctx)
	if err != nil {
		l.abort()
		if !waitAtMost(l.drained, returnGrace) {
			return l.stopped(l.running(), err)
		}
	}
	l.goroutines.Wait()
	return l.stopped(0, err)
}

// wait returns when all is handled, or with the error of a context that ends first.
func (l *Local) wait(ctx context.Context) error {
	select {
	case <-l.drained:
		return nil
	default:
	}
	select {
	case <-l.drained:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin starts the end. Only the first call does something.
func (l *Local) begin() {
	before := l.queued.Or(stopBit)
	if before&stopBit != 0 {
		return
	}
	l.unbind()
	l.pulse.end()
	due, later := l.timers.close()
	for _, e := range due {
		l.fire(e.of.ready(e.due))
	}
	for _, e := range later {
		if c := e.of.ready(e.due); c.withdraw() {
			l.drop(c)
		}
	}
	if before == 0 {
		l.finish()
	}
}

// finish ends the workers. It is called once, when no event is left.
func (l *Local) finish() {
	l.mu.Lock()
	lanes := l.lanes()
	l.mu.Unlock()
	for _, q := range lanes {
		q.close()
	}
	l.topics.Range(func(_, t any) bool {
		t.(*localTopic).routes.Load().block()
		return true
	})
	l.cancel(ErrStopped)
	close(l.drained)
}

// abort drops what is queued and ends the contexts of the handlers that run.
func (l *Local) abort() {
	l.aborted.Store(true)
	l.mu.Lock()
	lanes := l.lanes()
	l.mu.Unlock()
	for _, q := range lanes {
		for _, left := range q.abort() {
			if left.copy != nil {
				l.drop(left.copy)
				continue
			}
			l.dropPlain(q.topic().name, left.event, left.at, &identity{})
			l.release(1)
		}
	}
	l.cancel(ErrStopped)
}

// stopped makes Stop's answer.
func (l *Local) stopped(running int, err error) error {
	dropped := int(l.droppedCount.Load())
	if running == 0 && dropped == 0 {
		return nil
	}
	return &StopError{Running: running, Dropped: dropped, Err: err}
}

// drop ends a copy, which the caller has withdrawn, because of Stop.
func (l *Local) drop(c *localCopy) {
	defer l.end(c)
	l.reportStopped(c)
}

// reportStopped reports a copy that is not handled because of Stop: one whose
// handler has failed always, others once for the whole event.
func (l *Local) reportStopped(c *localCopy) {
	if c.failed == nil && c.event.dropped.Swap(true) {
		return
	}
	l.droppedCount.Add(1)
	d := Dropped{
		Topic:  c.to.lane.topic().name,
		ID:     c.event.get(),
		Event:  c.content.event,
		DueAt:  l.wall(c.due),
		Reason: ReasonStopped,
	}
	if c.failed != nil {
		d.Group, d.Err = c.to.handlers[0].group, c.failed.err
	}
	l.handOver(d)
}

// dropPlain reports an event without a copy that is not handled because of Stop.
func (l *Local) dropPlain(topic string, event any, at int64, who *identity) {
	l.droppedCount.Add(1)
	l.handOver(Dropped{Topic: topic, ID: who.get(), Event: event, DueAt: l.wall(at), Reason: ReasonStopped})
}

// handOver calls what [WithOnDrop] was given, whose panic must not end a
// goroutine of the dispatcher.
func (l *Local) handOver(d Dropped) {
	if l.config.onDrop == nil {
		return
	}
	defer logPanic(l.config.logger, "WithOnDrop")
	l.config.onDrop(d)
}
