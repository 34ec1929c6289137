package fanfare

import (
	"context"
	"log/slog"
	"time"
)

// localAttempt is one call of a handler that has ended.
type localAttempt struct {
	h    *localHandler
	who  *identity
	copy *localCopy // nil for an event that had none
	err  error

	// Only of one that failed.
	content *localContent
	event   *localEvent
}

func (a localAttempt) observation() Observation {
	return Observation{Topic: a.h.t.name, Group: a.h.group, ID: a.who.get(), Attempt: a.copy.failures() + 1, Err: a.err}
}

// stopwatch returns the time if an observer wants to know it.
func (l *Local) stopwatch() int64 {
	if l.config.observer == nil {
		return 0
	}
	return l.now()
}

func (l *Local) observeStart(c localContext, began int64) {
	if l.config.observer == nil {
		return
	}
	l.config.observer.started(Observation{
		Topic:    c.handledBy().t.name,
		Group:    c.handledBy().group,
		ID:       c.who().get(),
		Attempt:  c.failures() + 1,
		Lateness: time.Duration(began - c.due()),
	})
}

func (l *Local) observeFinish(a localAttempt, began int64) {
	if l.config.observer == nil {
		return
	}
	o := a.observation()
	o.Duration = time.Duration(l.now() - began)
	l.config.observer.finished(o)
}

// tally counts a call that has ended.
func (l *Local) tally(err error) {
	l.ended.Add(1)
	if err == nil {
		l.handled.Add(1)
	}
}

// fail decides about an attempt that failed.
func (l *Local) fail(a localAttempt) {
	v := judge(a.err, a.copy.failures(), a.h.attempts(a.content), a.h.backoff)
	switch {
	case v.outcome == dead:
		l.bury(a, v.reason)
	case a.h.shuttered(): // it starts no more
	default:
		l.retry(a, v)
	}
}

// retry lets the event wait for its next attempt with this handler.
func (l *Local) retry(a localAttempt, v verdict) {
	now := l.now()
	c := &localCopy{
		event:   a.event,
		content: a.content,
		to:      a.h.alone,
		due:     l.due(now, v.delay, v.at),
		failed:  &localFailure{count: a.copy.failures() + 1, err: a.err},
	}
	if l.stopping() {
		l.reportStopped(c)
		return
	}
	a.event.holds.Add(1)
	l.retried.Add(1)
	if !a.h.t.ids.attach(c) {
		l.refused(c)
		return
	}
	wait := time.Duration(max(c.due-now, 0))
	l.config.logger.LogAttrs(context.Background(), slog.LevelDebug, "event is tried again",
		slog.String("topic", a.h.t.name), slog.String("id", a.who.get()), slog.Int("attempt", a.copy.failures()+1),
		slog.Duration("wait", wait), slog.Any("error", a.err))
	if l.config.observer != nil {
		o := a.observation()
		o.Wait = wait
		l.config.observer.retried(o)
	}
}

// bury gives the event up for this handler.
func (l *Local) bury(a localAttempt, reason string) {
	l.dead.Add(1)
	l.config.logger.LogAttrs(context.Background(), slog.LevelError, "event is given up",
		slog.String("topic", a.h.t.name), slog.String("id", a.who.get()), slog.Int("attempt", a.copy.failures()+1),
		slog.String("reason", reason), slog.Any("error", a.err))
	if l.config.observer != nil {
		o := a.observation()
		o.Reason = reason
		l.config.observer.dead(o)
	}
	d := Dropped{Topic: a.h.t.name, Group: a.h.group, ID: a.who.get(), Event: a.content.event, Reason: reason, Err: a.err}
	d.DueAt = l.wall(a.content.dispatched)
	if a.copy != nil {
		d.DueAt = l.wall(a.copy.due)
	}
	l.handOver(d)
}
