package fanfare

import (
	"runtime"
	"sync/atomic"
	"time"
)

// laneWorker is one goroutine of a lane's pool: it handles one event at a time,
// calling its handlers one after the other.
type laneWorker[T any] struct {
	lane *lane[T]
	wake chan struct{} // nil until it has parked for the first time

	// These are under the lane's lock.
	number   int  // among the lane's workers
	called   bool // it was called and has not arrived yet
	expired  bool // the reaper chose it
	parkedAt int64

	// What it handles.
	batch  *laneBatch[T] // what it takes from
	copy   *localCopy    // or
	item   *plainItem[T] // both are nil between two events
	single plainItem[T]  // what item points to if it is not in the batch
	to     *audience     // of the event
	turn   int           // of the next handler
	event  *localEvent   // of an event without a copy, once a handler failed

	ready *audience         // that calls are for
	calls []typedHandler[T] // the handlers of ready
	plain bool              // they need neither an observer nor a timeout

	// What the contexts of events without a copy are made of.
	origins  *originRun
	place    int           // of the event among them, or of the next one
	known    bool          // the event has that place
	contexts []*contextRun // of each handler of ready

	_       [64]byte
	in      atomic.Pointer[localHandler] // the one that it calls, or called last
	done    atomic.Int64                 // events whose units it has not given back
	handled atomic.Uint64                // calls that returned nil, and that nobody has counted yet
	_       [64]byte
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
	for w.busy() || w.next() {
		w.prepare()
		if w.plain {
			w.handlePlain()
			continue
		}
		w.handleRest()
	}
	returned = true
}

// busy reports whether w has an event.
func (w *laneWorker[T]) busy() bool { return w.item != nil || w.copy != nil }

// looks is how often a worker that finds nothing lets others run and looks again
// before it parks: in a flood the next event is there long before a parked one
// would be awake.
const looks = 2

// next takes an event, or parks until there is one. It reports false when the
// worker is to end.
func (w *laneWorker[T]) next() bool {
	w.change(nil)
	q := w.lane
	q.mu.Lock()
	if w.called {
		w.called, q.calling = false, false
	}
	for looked := 0; !w.take(); looked++ {
		switch {
		case q.closed || w.expired:
			last := q.l.giveBack(w.collect())
			q.dismiss(w)
			q.mu.Unlock()
			if last {
				q.l.finish()
			}
			return false
		case w.done.Load() > 0:
			q.mu.Unlock()
			w.settleUnits()
			q.mu.Lock()
		case looked < looks && !q.calling:
			q.calling = true
			q.mu.Unlock()
			runtime.Gosched()
			q.mu.Lock()
			q.calling = false
		default:
			q.park(w)
			q.mu.Unlock()
			<-w.wake
			q.mu.Lock()
			w.called, q.calling = false, q.calling && !w.called
			looked = 0
		}
	}
	var another *laneWorker[T]
	if q.queue.n > 0 || q.batch.left() > 0 {
		another = q.call()
	}
	q.mu.Unlock()
	another.start()
	return true
}

// take gives w the next event, if there is one. The caller holds the lane's lock.
func (w *laneWorker[T]) take() bool {
	q := w.lane
	if w.takeFrom(q.batch) {
		return true
	}
	w.join(nil)
	taken, one, to := q.queue.take()
	switch {
	case to == nil:
		return false
	case taken.batch != nil:
		q.batch = taken.batch
		return w.takeFrom(q.batch)
	case taken.copy != nil:
		w.copy = taken.copy
	default:
		w.single = one
		w.item = &w.single
	}
	w.to = to
	return true
}

// takeFrom gives w the next event of a batch.
func (w *laneWorker[T]) takeFrom(b *laneBatch[T]) bool {
	if b == nil {
		return false
	}
	if w.item = b.claim(); w.item == nil {
		return false
	}
	w.join(b)
	w.to = b.to
	return true
}

// join makes w a user of a batch, instead of the one before.
func (w *laneWorker[T]) join(b *laneBatch[T]) {
	q, before := w.lane, w.batch
	if before == b {
		return
	}
	if b != nil {
		b.users++
	}
	w.batch = b
	if before == nil {
		return
	}
	if before.users--; before.users > 0 {
		return
	}
	if q.batch == before {
		q.batch = nil
	}
	q.queue.pool.put(before)
}

// dismiss takes a worker out of the pool, which has nothing. The last one takes
// the memory of the queue with it.
func (q *lane[T]) dismiss(w *laneWorker[T]) {
	last := len(q.workers) - 1
	q.workers[w.number] = q.workers[last]
	q.workers[w.number].number = w.number
	q.workers[last] = nil
	q.workers = q.workers[:last]
	if last == 0 && q.queue.n == 0 {
		q.workers, q.queue = nil, laneQueue[T]{}
	}
}

// settleUnits gives back the units of the events that w is done with.
func (w *laneWorker[T]) settleUnits() {
	q := w.lane
	q.mu.Lock()
	last := q.l.giveBack(w.collect())
	q.mu.Unlock()
	if last {
		q.l.finish()
	}
}

// collect takes from w what has to be settled, for the caller to do so. It holds
// the lane's lock.
func (w *laneWorker[T]) collect() (done int) {
	l := w.lane.l
	if n := w.handled.Swap(0); n > 0 {
		l.handled.Add(n)
		l.ended.Add(n)
	}
	return int(w.done.Swap(0))
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
