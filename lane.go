package fanfare

import (
	"reflect"
	"slices"
	"sync"
	"time"
)

// lane is a queue of ready events of one topic with the workers that handle
// them. The handlers of a topic that have no [Concurrency] of their own share
// one, each other one has its own. T is the type of the topic's events, or any.
type lane[T any] struct {
	l     *Local
	t     *localTopic
	limit int // of workers

	// straight is whether an event of type T may be queued as it is, without
	// looking for options or a delay in it; perhapsNil whether it may be nil.
	straight   bool
	perhapsNil bool

	mu       sync.Mutex
	to       *audience // who listens; nil when nobody does any more
	queue    laneQueue[T]
	batch    *laneBatch[T]    // what comes before the queue
	workers  []*laneWorker[T] // in no order
	parked   []*laneWorker[T] // the one that parked last is called first
	calling  bool             // a worker is on its way: it was called, or looks once more before it parks
	closed   bool             // there will be no more work
	aborted  bool             // what comes is refused
	reaping  bool             // the reaper is going to come
	reaper   *time.Timer
	accepted uint64 // events that came by push
	stamps   stamps
}

// audience is the handlers of a lane at one moment. It does not change. An event
// goes to the audience of the moment when it was accepted.
type audience struct {
	lane     anyLane
	handlers []*localHandler
	plain    bool // no handler has a timeout, and there is no observer
}

func newAudience(lane anyLane, handlers []*localHandler) *audience {
	plain := !slices.ContainsFunc(handlers, func(h *localHandler) bool {
		return h.timeout > 0 || h.l.config.observer != nil
	})
	return &audience{lane: lane, handlers: handlers, plain: plain}
}

// listens reports whether one of the handlers was not removed.
func (to *audience) listens() bool {
	return slices.ContainsFunc(to.handlers, func(h *localHandler) bool { return !h.shuttered() })
}

// anyLane is a lane without its type.
type anyLane interface {
	topic() *localTopic
	audience() *audience
	putEvent(event any, at int64) bool
	put(c *localCopy) bool
	withdrawn()
	add(h *localHandler)
	remove(h *localHandler) (left []*localCopy, plain int)
	abort() []leftover
	close()
	pushed() uint64
	collect() (some, last bool)
	running(h *localHandler) int
	shortcut() any
}

// leftover is what is known of an event that Stop found in a lane.
type leftover struct {
	copy  *localCopy // nil for one without
	event any
	at    int64
}

func newLane[T any](t *localTopic, limit int) *lane[T] {
	typ := reflect.TypeFor[T]()
	q := &lane[T]{l: t.l, t: t, limit: limit}
	q.straight = typ.Kind() != reflect.Interface && !typ.Implements(reflect.TypeFor[DelayedEvent]())
	switch typ.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Slice, reflect.Chan:
		q.perhapsNil = true
	}
	return q
}

func (q *lane[T]) topic() *localTopic { return q.t }

func (q *lane[T]) audience() *audience {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.to
}

// unstamped is a time that push has to find out.
const unstamped = -1

// push queues an event that has no copy, and was dispatched at a time. It reports
// false if nobody listens here any more.
func (q *lane[T]) push(event T, at int64) bool {
	q.mu.Lock()
	if q.to == nil || q.aborted {
		q.mu.Unlock()
		return false
	}
	if at == unstamped {
		at = q.stamps.next(q.l)
	}
	q.accepted++
	q.queue.putPlain(event, at, q.to)
	var w *laneWorker[T]
	if !q.calling {
		w = q.call()
	}
	q.mu.Unlock()
	w.start()
	return true
}

// putEvent is push for an event that is a T.
func (q *lane[T]) putEvent(event any, at int64) bool { return q.push(event.(T), at) }

// put queues a copy whose time has come. It reports false if nobody listens here
// any more.
func (q *lane[T]) put(c *localCopy) bool {
	q.mu.Lock()
	if q.to == nil || q.aborted {
		q.mu.Unlock()
		return false
	}
	if c.content.priority != Normal {
		q.recall()
	}
	q.queue.putCopy(c)
	w := q.call()
	q.mu.Unlock()
	w.start()
	return true
}

// withdrawn is told when a copy was withdrawn that is queued here.
func (q *lane[T]) withdrawn() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue.withdrawn()
}

// call chooses a worker for what is queued: a parked one, or a new one while
// there are fewer than the limit. It chooses none while another one is on its
// way, since that one calls the next if it finds more than it can take. The
// caller starts the worker once it has unlocked mu.
func (q *lane[T]) call() *laneWorker[T] {
	if q.calling {
		return nil
	}
	if last := len(q.parked) - 1; last >= 0 {
		w := q.parked[last]
		q.parked[last] = nil
		q.parked = q.parked[:last]
		q.calling, w.called = true, true
		return w
	}
	if len(q.workers) == q.limit {
		return nil
	}
	q.calling = true
	q.l.goroutines.Add(1)
	w := &laneWorker[T]{lane: q, called: true, number: len(q.workers), place: runLength}
	q.workers = append(q.workers, w)
	return w
}

// add lets h hear what is accepted from now on.
func (q *lane[T]) add(h *localHandler) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var handlers []*localHandler
	if q.to != nil {
		handlers = q.to.handlers
	}
	handlers = append(handlers[:len(handlers):len(handlers)], h)
	q.to = newAudience(q, handlers)
}

// remove takes h away. If that was the last handler, nobody listens any more:
// the workers end, and what is queued is returned: copies, and a number of
// events without.
func (q *lane[T]) remove(h *localHandler) (left []*localCopy, plain int) {
	q.mu.Lock()
	var handlers []*localHandler
	for _, other := range q.to.handlers {
		if other != h {
			handlers = append(handlers, other)
		}
	}
	if len(handlers) > 0 {
		q.to = newAudience(q, handlers)
		q.mu.Unlock()
		return nil, 0
	}
	q.to = nil
	q.recall()
	all := q.queue.empty()
	q.mu.Unlock()
	q.close()
	for _, it := range all {
		if it.copy == nil {
			plain++
			continue
		}
		left = append(left, it.copy)
	}
	return left, plain
}

// abort takes what is queued and refuses what comes.
func (q *lane[T]) abort() []leftover {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.aborted = true
	q.recall()
	return q.queue.empty()
}

// recall puts what is left of the batch back into the queue, where it is first
// again.
func (q *lane[T]) recall() {
	b := q.batch
	if b == nil {
		return
	}
	q.queue.putBack(b.recall(), b.to)
	q.batch = nil // its users put it into the pool
}

// close ends the workers once they find nothing to do.
func (q *lane[T]) close() {
	q.mu.Lock()
	q.closed = true
	parked := q.parked
	q.parked = nil
	if q.reaper != nil {
		q.reaper.Stop()
	}
	q.mu.Unlock()
	for _, w := range parked {
		w.start()
	}
}

func (q *lane[T]) pushed() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.accepted
}

// collect gives back the units of events that are done, where workers have not
// yet. It reports whether there were some, and whether the caller has to finish.
// All of it is under the lock, so that whoever comes next finds each unit either
// with its worker or given back.
func (q *lane[T]) collect() (some, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	done := 0
	for _, w := range q.workers {
		done += w.collect()
	}
	return done > 0, q.l.giveBack(done)
}

// running counts the calls of h that run.
func (q *lane[T]) running(h *localHandler) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.workers {
		if w.in.Load() == h {
			n++
		}
	}
	return n
}
