package fanfare

import (
	"context"
	"runtime/debug"
)

// enter lets w call h. It reports false if h was removed.
func (w *laneWorker[T]) enter(h *localHandler) bool {
	if w.in.Load() != h {
		w.change(h)
	}
	if !h.shuttered() { // after in was set: shut looks for that
		return true
	}
	w.change(nil)
	return false
}

// change says whom w calls from now on; nil is nobody.
func (w *laneWorker[T]) change(to *localHandler) {
	from := w.in.Load()
	w.in.Store(to)
	if from != nil && from.shuttered() {
		from.left()
	}
}

// prepare makes w ready for the handlers of its event.
func (w *laneWorker[T]) prepare() {
	to := w.to
	w.plain = w.copy == nil && to.plain
	if w.ready == to {
		return
	}
	w.ready, w.calls, w.contexts = to, make([]typedHandler[T], len(to.handlers)), make([]*contextRun, len(to.handlers))
	for i, h := range to.handlers {
		f, ok := h.handler.(typedHandler[T])
		if !ok {
			f = func(ctx context.Context, event T) error { return h.handler.Handle(ctx, event) }
		}
		w.calls[i] = f
	}
}

// settledAtOnce is after how many events a worker gives their units back. Before
// that it does if it finds nothing more to do, or if somebody needs them.
const settledAtOnce = 64

// handlePlain calls the handlers of the event that have not had their turn, and
// handles what comes after it in the batch. It returns early when one of them panics.
func (w *laneWorker[T]) handlePlain() {
	l, calling := w.lane.l, false
	defer func() {
		if !calling {
			return
		}
		if v := recover(); v != nil {
			w.fail(sound(&PanicError{Value: v, Stack: debug.Stack()}))
			return
		}
		w.fail(&PanicError{Stack: debug.Stack()})
	}()
	for {
		for w.turn < len(w.calls) {
			if l.aborted.Load() {
				w.turn = len(w.calls)
				w.drop()
				break
			}
			h, call := w.to.handlers[w.turn], w.calls[w.turn]
			w.turn++
			if !w.enter(h) {
				continue
			}
			own := w.context(h)
			calling = true
			err := call(own, w.item.event)
			calling = false
			if err != nil {
				w.fail(sound(err))
				continue
			}
			w.handled.Add(1)
		}
		if w.end(); w.item == nil {
			return
		}
	}
}

// fail is called when a handler of an event without a copy has failed, which
// nobody observes.
func (w *laneWorker[T]) fail(err error) {
	h := w.to.handlers[w.turn-1]
	w.change(nil)
	w.settle(h, 0, err)
}

// end takes the event out of the books, and takes the next one of the batch.
func (w *laneWorker[T]) end() {
	l, c, e := w.lane.l, w.copy, w.event
	w.turn, w.copy, w.event = 0, nil, nil
	if c == nil {
		*w.item = plainItem[T]{}
		w.item = nil
	}
	if w.batch != nil {
		w.item = w.batch.claim()
	}
	if w.known {
		w.known = false
		w.place++
	}
	switch {
	case c != nil:
		l.end(c)
	case e != nil:
		l.unhold(e)
	case w.done.Add(1) >= settledAtOnce:
		w.settleUnits()
	}
}

// handleRest calls the handlers of the event that have not had their turn, and
// ends it.
func (w *laneWorker[T]) handleRest() {
	for handlers := w.to.handlers; w.turn < len(handlers); {
		if w.lane.l.aborted.Load() {
			w.turn = len(handlers)
			w.drop()
			break
		}
		h := handlers[w.turn]
		w.turn++
		if w.enter(h) {
			w.handle(h)
		}
	}
	w.end()
}

// handle calls one handler, which was entered, and does what follows from what
// it returned.
func (w *laneWorker[T]) handle(h *localHandler) {
	began := w.lane.l.stopwatch()
	ended := func(err error) {
		w.change(nil)
		w.settle(h, began, err)
	}
	ended(guard(func() error { return w.call(h, began) }, ended))
}

func (w *laneWorker[T]) call(h *localHandler, began int64) error {
	own := w.anyContext(h)
	h.l.observeStart(own, began)
	var event T
	if c := w.copy; c != nil {
		event = c.content.event.(T)
	} else {
		event = w.item.event
	}
	if h.timeout <= 0 {
		return w.calls[w.turn-1](own, event)
	}
	ctx, cancel := context.WithTimeoutCause(own, h.timeout, ErrTimeout)
	defer cancel()
	return w.calls[w.turn-1](ctx, event)
}

// settle is called when a handler has returned, panicked, or is about to end its
// goroutine.
func (w *laneWorker[T]) settle(h *localHandler, began int64, err error) {
	a := localAttempt{h: h, copy: w.copy, err: err}
	a.who = w.identity()
	h.l.tally(err)
	h.l.observeFinish(a, began)
	if err == nil {
		return
	}
	a.content, a.event = w.failed()
	h.l.fail(a)
}

// identity returns that of the event.
func (w *laneWorker[T]) identity() *identity {
	if c := w.copy; c != nil {
		return &c.event.identity
	}
	return w.origin().identity(w.place)
}

// failed returns what is known of the event, of which a handler failed. An event
// without a copy becomes one with: its other handlers may fail too, and all
// their retries are one event.
func (w *laneWorker[T]) failed() (*localContent, *localEvent) {
	if c := w.copy; c != nil {
		return c.content, c.event
	}
	if w.event == nil {
		id := w.identity().get()
		w.event = &localEvent{}
		w.event.id.Store(&id)
		w.event.holds.Store(1) // the worker's
	}
	return &localContent{event: w.item.event, dispatched: w.item.at}, w.event
}

// drop reports an event that Stop keeps from its remaining handlers.
func (w *laneWorker[T]) drop() {
	w.change(nil)
	l := w.lane.l
	if c := w.copy; c != nil {
		l.reportStopped(c)
		return
	}
	l.dropPlain(w.lane.t.name, w.item.event, w.item.at, w.identity())
}

// origin returns what the handlers of an event without a copy may know of it,
// and makes that first.
func (w *laneWorker[T]) origin() *originRun {
	if w.known {
		return w.origins
	}
	w.known = true
	if w.place < runLength {
		later := w.item.at - w.origins.at
		if w.origins.later[w.place] = int32(later); int64(int32(later)) == later {
			return w.origins
		}
	}
	w.origins, w.place = &originRun{at: w.item.at}, 0
	return w.origins
}

// context makes the context for one call, of an event without a copy. It is never
// used again, so that a handler may keep it.
func (w *laneWorker[T]) context(h *localHandler) *plainContext {
	from, r := w.origin(), w.contexts[w.turn-1]
	if r == nil || r.from != from {
		r = &contextRun{callContext: callContext{h}, from: from}
		w.contexts[w.turn-1] = r
	}
	c := &r.each[w.place]
	c.run = r
	return c
}

// anyContext makes the context for one call, of whatever event. That of a copy
// holds the payload, which must not stay with a run.
func (w *laneWorker[T]) anyContext(h *localHandler) localContext {
	if c := w.copy; c != nil {
		return &copyContext{callContext{h}, c}
	}
	return w.context(h)
}
