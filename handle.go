package fanfare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// maxError is the greatest length of an error that is stored, in bytes.
const maxError = 4 << 10

// handle runs the handler for one event and hands its result to the settler.
func (c *consumer) handle(l *lease) {
	e, err := decodeEnvelope(l.Body)
	if err != nil {
		c.report(l, verdict{outcome: dead, reason: ReasonUndecodable}, err)
		return
	}
	if n := lostLeases(l.Delivery); n >= maxLostLeases {
		err := fmt.Errorf("its lease ran out %d times: %w", n, ErrLeaseLost)
		c.report(l, verdict{outcome: dead, reason: ReasonPoison}, err)
		return
	}
	limit := c.cfg.maxAttempts
	if e.maxAttempts != 0 && !c.cfg.ownLimit {
		limit = e.maxAttempts
	}
	ctx, cancel := c.handlerContext(&handling{Context: c.work, c: c, l: l, envelope: e, limit: limit})
	defer cancel(nil)
	begin := time.Now()
	c.d.started.Add(1)
	c.d.counters.running.Add(1)
	seen := c.observe(l)
	seen.Lateness = l.late + begin.Sub(l.claimed)
	c.d.observer.started(seen)

	after := func(err error) {
		c.d.counters.running.Add(-1)
		seen.Duration, seen.Err = time.Since(begin), err
		c.d.observer.finished(seen)
		c.report(l, c.judge(ctx, l, limit, err), err)
	}
	after(guard(func() error {
		return c.handler.Handle(ctx, Encoded{contentType: e.contentType, data: e.payload, codec: c.d.codec})
	}, after))
}

// handlerContext makes the context of one run of the handler.
func (c *consumer) handlerContext(h *handling) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(h)
	h.l.canceled(cancel)
	if c.cfg.timeout == 0 {
		return ctx, cancel
	}
	ctx, stop := context.WithTimeoutCause(ctx, c.cfg.timeout, ErrTimeout)
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// judge decides what follows from a handler's return. What failed because the
// dispatcher stopped, or because its lease was lost, is not held against the event.
func (c *consumer) judge(ctx context.Context, l *lease, limit int, err error) verdict {
	if err != nil && !c.cfg.atMostOnce {
		if cause := context.Cause(ctx); errors.Is(cause, ErrStopped) || errors.Is(cause, ErrLeaseLost) {
			return verdict{outcome: release}
		}
	}
	if c.cfg.atMostOnce {
		limit = 1
	}
	return judge(err, l.Failures, limit, c.cfg.backoff)
}

// report hands the result of an event to the settler.
func (c *consumer) report(l *lease, v verdict, err error) {
	s := driver.Settlement{Receipt: l.Receipt, Verb: driver.Ack, Error: errorText(err)}
	switch v.outcome {
	case retry:
		s.Verb, s.Delay, s.At = driver.Retry, v.delay, v.at
	case dead:
		s.Verb, s.Reason = driver.Bury, v.reason
	case release:
		s.Verb = driver.Release
	}
	r := result{lease: l, Settlement: s, wait: v.delay, err: err}
	if !v.at.IsZero() {
		r.wait = time.Until(v.at)
	}
	if c.cfg.atMostOnce || v.outcome == done && c.leaveToTx(l) {
		c.settled(r, nil)
		return
	}
	c.submit(r)
}

// release gives an event back as if it had not been claimed.
func (c *consumer) release(l *lease) {
	c.submit(result{lease: l, Settlement: driver.Settlement{Receipt: l.Receipt, Verb: driver.Release}})
}

// submit hands a result to the settler, unless the event has one already.
func (c *consumer) submit(r result) {
	c.mu.Lock()
	again := r.lease.reported
	r.lease.reported = true
	c.mu.Unlock()
	if !again {
		c.settler.add(r)
	}
}

// settled counts, tells and logs a result that the backend has taken, or
// refused with err.
func (c *consumer) settled(r result, err error) {
	if errors.Is(err, driver.ErrLeaseLost) {
		c.lose(r.lease)
		return
	}
	seen := c.observe(r.lease)
	seen.Err = r.err
	switch r.Verb {
	case driver.Ack:
		c.d.handled.Add(1)
	case driver.Release:
		if c.work.Err() != nil { // not what was claimed while the consumer left
			c.mu.Lock()
			c.released++
			c.mu.Unlock()
		}
	case driver.Retry:
		seen.Wait = r.wait
		c.d.retried.Add(1)
		c.d.observer.retried(seen)
		c.d.logger.Debug("fanfare: event is tried again", "topic", seen.Topic, "group", seen.Group, "event_id", seen.ID, "attempt", seen.Attempt, "wait", r.wait, "error", r.err)
	case driver.Bury:
		seen.Reason = r.Reason
		c.d.dead.Add(1)
		c.d.observer.dead(seen)
		c.d.logger.Error("fanfare: event is dead", "topic", seen.Topic, "group", seen.Group, "event_id", seen.ID, "attempt", seen.Attempt, "reason", r.Reason, "error", r.err)
	}
}

func (c *consumer) observe(l *lease) Observation {
	return Observation{Topic: c.queue.Topic, Group: c.queue.Group, ID: l.ID, Attempt: l.Attempt}
}
