package fanfare

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// localDispatch is one call of Dispatch.
type localDispatch struct {
	settings
	l     *Local
	topic string
	event any

	tracked  bool // its id was given, by the caller or a fan-out
	ran      bool // its synchronous handlers did, and all returned nil
	reserved bool // it took a unit
	pushed   bool // a lane has it as it is, and counts it
	held     *trackedID
	now, due int64
}

// errForgotten reports a topic or a lane that lost its last handler since it was
// looked up.
var errForgotten = errors.New("handlers were removed")

// dispatch queues an event as it is, or lets it wait for its delay. It reports
// false if it has other options, or the lane takes no more.
func (q *lane[T]) dispatch(event T, opts []EventOption) (ok bool, err error) {
	var delay eventDelay
	if len(opts) > 0 {
		if delay, ok = opts[0].(eventDelay); !ok {
			return false, nil
		}
	}
	l := q.l
	if err := l.reserve(); err != nil {
		l.rejected.Add(1)
		return true, err
	}
	if delay == 0 {
		ok = q.push(event, unstamped)
	} else {
		ok = q.delay(event, time.Duration(delay))
	}
	if !ok {
		l.release(1)
	}
	return ok, nil
}

// delay lets an event wait that has a delay and no other option.
func (q *lane[T]) delay(event T, delay time.Duration) bool {
	l, to, now := q.l, q.audience(), q.l.now()
	if to == nil || !l.timers.add(l.due(now, delay, time.Time{}), &delayedEvent[T]{event, to, now}) {
		return false
	}
	l.dispatched.Add(1)
	return true
}

// dispatch is Dispatch inside its middleware.
func (l *Local) dispatch(ctx context.Context, topic string, event any) error {
	if err := checkEvent(topic, event); err != nil {
		l.rejected.Add(1)
		return err
	}
	d := localDispatch{l: l, topic: topic, now: l.now()}
	err := d.resolve(ctx, event)
	if err == nil {
		err = d.accept(ctx)
	}
	if err != nil || !d.pushed {
		l.count(statusOf(err))
	}
	if l.config.observer != nil {
		l.config.observer.dispatched(Observation{Topic: topic, ID: d.id, Duration: time.Duration(l.now() - d.now), Err: err})
	}
	return err
}

func (d *localDispatch) resolve(ctx context.Context, event any) (err error) {
	d.event, d.settings, err = resolve(ctx, event)
	if err != nil {
		return err
	}
	d.due = d.now
	if d.delay > 0 || !d.at.IsZero() {
		d.due = d.l.due(d.now, d.delay, d.at)
	}
	d.tracked = d.id != ""
	if !d.tracked && d.l.config.observer != nil {
		d.id = NewID()
	}
	return nil
}

// plain reports whether there is nothing to know of the event but itself.
func (d *localDispatch) plain() bool {
	return d.id == "" && d.due == d.now && d.priority == Normal && d.maxAttempts == 0 && len(d.headers) == 0
}

func (d *localDispatch) accept(ctx context.Context) error {
	for {
		if d.l.stopping() {
			return ErrStopped
		}
		t := d.l.topic(d.topic)
		if t == nil {
			return fmt.Errorf("topic %s: %w", quoteName(d.topic), ErrNoHandlerFound)
		}
		if err := d.offer(ctx, t); !errors.Is(err, errForgotten) {
			return err
		}
	}
}

// offer gives the event to a topic, whose last handler may be removed meanwhile.
func (d *localDispatch) offer(ctx context.Context, t *localTopic) (err error) {
	r := t.routes.Load()
	if r == nil {
		return errForgotten
	}
	if d.event, err = t.kind.convert(d.event); err != nil {
		return fmt.Errorf("dispatch to %s: %w", quoteName(d.topic), err)
	}
	switch {
	case d.tracked:
		return t.ids.accept(ctx, d, r)
	case r.sole && d.plain():
		return d.push(r.lanes[0])
	}
	p := d.parcel()
	if err := d.reserve(p); err != nil {
		return err
	}
	defer d.l.unhold(&p.event)
	if err := d.runSynchronous(ctx, r, p); err != nil {
		return err
	}
	refused, err := d.spread(r, p)
	d.l.endRefused(refused, err)
	return err
}

// push queues an event that is nothing but itself.
func (d *localDispatch) push(q anyLane) error {
	if err := d.l.reserve(); err != nil {
		return err
	}
	if !q.putEvent(d.event, d.now) {
		d.l.release(1)
		return errForgotten
	}
	d.pushed = true
	return nil
}

func (d *localDispatch) parcel() *localParcel {
	p := &localParcel{content: localContent{
		event:       d.event,
		headers:     d.headers,
		dispatched:  d.now,
		maxAttempts: int32(d.maxAttempts),
		priority:    d.priority,
	}}
	if id := d.id; id != "" {
		p.event.id.Store(&id)
	}
	return p
}

// reserve takes a unit for the event and holds it.
func (d *localDispatch) reserve(p *localParcel) error {
	if err := d.l.reserve(); err != nil {
		return err
	}
	d.reserved = true
	p.event.holds.Store(1)
	return nil
}

func (d *localDispatch) copy(p *localParcel, to *audience) *localCopy {
	c := &p.first
	if c.event != nil {
		c = &localCopy{}
	}
	c.event, c.content, c.to, c.due = &p.event, &p.content, to, d.due
	return c
}

// spread lets a copy of the event wait in each lane. It returns those that were
// refused because the handlers were removed or the dispatcher was stopped, and
// an error if the event as a whole was.
func (d *localDispatch) spread(r *routes, p *localParcel) (refused []*localCopy, err error) {
	copies := make([]*localCopy, 0, len(r.lanes))
	for _, q := range r.lanes {
		if to := q.audience(); to != nil {
			copies = append(copies, d.copy(p, to))
		}
	}
	p.event.holds.Add(int32(len(copies)))
	if p.event.tracked != nil {
		p.event.tracked.add(copies...)
	}
	refused = d.l.placeAll(copies, d.due)
	if len(refused) < len(copies) || d.ran {
		return refused, nil
	}
	if d.l.stopping() {
		return refused, ErrStopped
	}
	return refused, errForgotten
}

// placeAll lets the copies of an event wait. It returns those that were refused;
// of an event that is due later all are or none.
func (l *Local) placeAll(copies []*localCopy, due int64) (refused []*localCopy) {
	if due > l.now() {
		all := make([]delayed, len(copies))
		for i, c := range copies {
			all[i] = c
		}
		if len(copies) == 0 || l.timers.add(due, all...) {
			return nil
		}
		return copies
	}
	for _, c := range copies {
		if !c.to.lane.put(c) {
			refused = append(refused, c)
		}
	}
	return refused
}

// place lets a copy wait until it is due, or until a worker takes it.
func (l *Local) place(c *localCopy) bool {
	if c.due > l.now() {
		return l.timers.add(c.due, c)
	}
	return c.to.lane.put(c)
}

// fire is called for a copy when it is due.
func (l *Local) fire(c *localCopy) {
	if !c.to.lane.put(c) {
		l.refused(c)
	}
}

// refused ends a copy that found no place: its handlers were removed, or the
// dispatcher was stopped.
func (l *Local) refused(c *localCopy) {
	switch {
	case !c.withdraw():
	case l.stopping():
		l.drop(c)
	default:
		l.end(c)
	}
}

// endRefused ends what spread returned.
func (l *Local) endRefused(refused []*localCopy, err error) {
	for _, c := range refused {
		if err == nil {
			l.refused(c)
			continue
		}
		l.unhold(c.event)
	}
}

// end takes a copy out of the books that was handled, withdrawn or dropped.
func (l *Local) end(c *localCopy) {
	defer l.unhold(c.event)
	if c.event.tracked == nil {
		return
	}
	if successor := c.to.lane.topic().ids.ended(c); successor != nil {
		l.refused(successor)
	}
}

// runSynchronous calls the synchronous handlers until one fails.
func (d *localDispatch) runSynchronous(ctx context.Context, r *routes, p *localParcel) error {
	if d.ran {
		return nil
	}
	for _, h := range r.synchronous {
		if !h.enter() {
			continue
		}
		if err := d.callSynchronous(ctx, h, p); err != nil {
			return &synchronousError{err: err}
		}
	}
	d.ran = len(r.synchronous) > 0
	return nil
}

// synchronousError is the error of a handler, which must not be taken for what
// the dispatcher says of the event: the handler may have met an ErrDuplicate.
type synchronousError struct{ err error }

func (e *synchronousError) Error() string { return e.err.Error() }
func (e *synchronousError) Unwrap() error { return e.err }

func (d *localDispatch) callSynchronous(ctx context.Context, h *localHandler, p *localParcel) error {
	began := d.l.stopwatch()
	c := &localCopy{event: &p.event, content: &p.content, due: d.due}
	own := &copyContext{callContext{h}, c}
	ended := func(err error) {
		d.l.tally(err)
		h.exit()
		d.l.observeFinish(localAttempt{h: h, who: own.who(), copy: c, err: err}, began)
	}
	err := guard(func() error {
		d.l.observeStart(own, max(began, c.due)) // also if it is early for an event with a delay
		ctx := context.WithValue(ctx, deliveryKey{}, own)
		if h.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, h.timeout, ErrTimeout)
			defer cancel()
		}
		return h.handler.Handle(ctx, d.event)
	}, ended)
	ended(err)
	return err
}
