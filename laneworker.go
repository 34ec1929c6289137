package fanfare

import (
	"context"
	"time"
)

// laneWorker is one goroutine of a lane's pool: it handles one event at a time,
// calling its handlers one after the other.
type laneWorker[T any] struct {
	lane *lane[T]
	wake chan struct{} // nil until it has parked for the first time

	// These are under the lane's lock.
	called   bool // it was called and has not arrived yet
	expired  bool // the reaper chose it
	parkedAt int64

	// What it handles.
	item  item[T]
	turn  int         // of the next handler
	who   *identity   // of the event; nil until a handler started
	event *localEvent // of an event without a copy, once a handler failed

	contexts []localContext
}

// start lets a worker go on that was called, or begins it. Without one it does
// nothing.
func (w *laneWorker[T]) start() {
	switch {
	case w == nil:
	case w.wake != nil:
		w.wake <- struct{}{} // has room, and is sent to once for each time it parked
	default:
		go w.run()
	}
}

// run handles events until there is no more use for the worker. If a handler
// ends the goroutine, another one goes on where it was.
func (w *laneWorker[T]) run() {
	returned := false
	defer func() {
		if !returned {
			go w.run()
			return
		}
		w.lane.l.goroutines.Done()
	}()
	if w.item.to != nil {
		w.handleRest()
	}
	for w.next() {
		w.handleRest()
	}
	returned = true
}

// next takes an event, or parks until there is one. It reports false when the
// worker is to end.
func (w *laneWorker[T]) next() bool {
	q := w.lane
	q.mu.Lock()
	for {
		if w.called {
			w.called, q.calling = false, false
		}
		var found bool
		if w.item, found = q.queue.take(); found {
			break
		}
		if q.closed || w.expired {
			q.workers--
			q.mu.Unlock()
			return false
		}
		q.park(w)
		q.mu.Unlock()
		<-w.wake
		q.mu.Lock()
	}
	var another *laneWorker[T]
	if q.queue.n > 0 {
		another = q.call()
	}
	q.mu.Unlock()
	another.start()
	return true
}

// park notes that w is going to wait, for the reaper not forever.
func (q *lane[T]) park(w *laneWorker[T]) {
	if w.wake == nil {
		w.wake = make(chan struct{}, 1)
	}
	w.parkedAt = q.l.now()
	q.parked = append(q.parked, w)
	switch {
	case q.reaping:
	case q.reaper == nil:
		q.reaper = time.AfterFunc(q.l.config.idle, q.reap)
	default:
		q.reaper.Reset(q.l.config.idle)
	}
	q.reaping = true
}

// reap ends the workers that have been idle for long enough: the first ones, as
// the last one to park is the first one called.
func (q *lane[T]) reap() {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	limit := q.l.now() - int64(q.l.config.idle)
	n := 0
	for n < len(q.parked) && q.parked[n].parkedAt <= limit {
		q.parked[n].expired = true
		n++
	}
	idle := q.parked[:n]
	q.parked = append([]*laneWorker[T](nil), q.parked[n:]...)
	q.reaping = len(q.parked) > 0
	if q.reaping {
		q.reaper.Reset(time.Duration(q.parked[0].parkedAt - limit))
	}
	q.mu.Unlock()
	for _, w := range idle {
		w.start()
	}
}

// handleRest calls the handlers of the event that have not had their turn, and
// ends it.
func (w *laneWorker[T]) handleRest() {
	l := w.lane.l
	for handlers := w.item.to.handlers; w.turn < len(handlers); {
		if l.aborted.Load() {
			w.turn = len(handlers)
			w.drop()
			break
		}
		h := handlers[w.turn]
		w.turn++
		if h.enter() {
			w.handle(h)
		}
	}
	c, e := w.item.copy, w.event
	w.item, w.turn, w.who, w.event = item[T]{}, 0, nil, nil
	switch {
	case c != nil:
		l.end(c)
	case e != nil:
		l.unhold(e)
	default:
		l.release()
	}
}

// handle calls one handler, which was entered, and does what follows from what
// it returned.
func (w *laneWorker[T]) handle(h *localHandler) {
	began := w.lane.l.stopwatch()
	err := guard(
		func() error { return w.call(h, began) },
		func(err error) { w.settle(h, began, err) },
	)
	w.settle(h, began, err)
}

func (w *laneWorker[T]) call(h *localHandler, began int64) error {
	own := w.context(h)
	h.l.observeStart(own, began)
	if h.timeout <= 0 {
		return w.invoke(own, h)
	}
	ctx, cancel := context.WithTimeoutCause(own, h.timeout, ErrTimeout)
	defer cancel()
	return w.invoke(ctx, h)
}

func (w *laneWorker[T]) invoke(ctx context.Context, h *localHandler) error {
	event := w.item.event
	if c := w.item.copy; c != nil {
		event = c.content.event.(T)
	}
	if f, ok := h.handler.(typedHandler[T]); ok {
		return f(ctx, event)
	}
	return h.handler.Handle(ctx, event)
}

// context makes the context for one call. It is never used again, so that a
// handler may keep it.
func (w *laneWorker[T]) context(h *localHandler) *localContext {
	var c *localContext
	if w.item.copy != nil { // it holds the payload, which must not stay with a slab
		c = new(localContext)
	} else {
		if len(w.contexts) == 0 {
			w.contexts = make([]localContext, contextSlab)
		}
		c = &w.contexts[0]
		w.contexts = w.contexts[1:]
	}
	c.h, c.copy, c.at = h, w.item.copy, w.item.at
	if w.who == nil {
		w.who = &c.own
		if c.copy != nil {
			w.who = &c.copy.event.identity
		}
	}
	c.who = w.who
	return c
}

// settle is called when a handler has returned, panicked, or is about to end its
// goroutine.
func (w *laneWorker[T]) settle(h *localHandler, began int64, err error) {
	l := h.l
	a := localAttempt{h: h, who: w.who, copy: w.item.copy, err: err}
	h.leave(err)
	l.observeFinish(a, began)
	if err == nil {
		return
	}
	a.content, a.event = w.failed()
	l.fail(a)
}

// failed returns what is known of the event, of which a handler failed. An event
// without a copy becomes one with: its other handlers may fail too, and all
// their retries are one event.
func (w *laneWorker[T]) failed() (*localContent, *localEvent) {
	if c := w.item.copy; c != nil {
		return c.content, c.event
	}
	if w.event == nil {
		id := w.who.get()
		w.event = &localEvent{}
		w.event.id.Store(&id)
		w.event.holds.Store(1) // the worker's
	}
	return &localContent{event: w.item.event, dispatched: w.item.at}, w.event
}

// drop reports an event that Stop keeps from its remaining handlers.
func (w *laneWorker[T]) drop() {
	l := w.lane.l
	if c := w.item.copy; c != nil {
		l.reportStopped(c)
		return
	}
	if w.who == nil {
		w.who = &identity{}
	}
	l.dropPlain(w.lane.t.name, w.item.event, w.item.at, w.who)
}
