package sqlqueue

import (
	"maps"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// wakes are the consumers of this process that wait, by queue.
type wakes struct {
	mu     sync.Mutex
	queues map[driver.Queue]*waiting
	ids    map[int64]driver.Queue // by the ids that notifications have
	room   int                    // for so many queues, until some are forgotten
}

// waiting is what is known of those who wait for one queue.
type waiting struct {
	id      int64 // of the queue's row; 0 if that is not known
	waiters map[chan struct{}]struct{}
	missed  bool      // it was woken while nobody waited
	stirred time.Time // when something was dispatched in a transaction that may still be open
}

// know begins to keep the wakes of a queue that is handled here, and returns the
// id of its row, or 0.
func (w *wakes) know(q driver.Queue) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of(q).id
}

// recognize notes the id by which notifications name a queue that is handled
// here. One may have been missed by then.
func (w *wakes) recognize(id int64, q driver.Queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.of(q)
	if id == 0 || id == of.id {
		return
	}
	of.id, of.missed = id, true
	w.ids[id] = q
}

// of is called with mu held.
func (w *wakes) of(q driver.Queue) *waiting {
	if w.queues == nil {
		w.queues, w.ids, w.room = map[driver.Queue]*waiting{}, map[int64]driver.Queue{}, remembered
	}
	of := w.queues[q]
	if of == nil {
		if len(w.queues) >= w.room {
			w.forget()
		}
		of = &waiting{waiters: map[chan struct{}]struct{}{}}
		w.queues[q] = of
	}
	return of
}

// forget drops the queues that nobody waits for. A claim brings one back that is
// still handled. It is called with mu held.
func (w *wakes) forget() {
	maps.DeleteFunc(w.queues, func(_ driver.Queue, of *waiting) bool { return len(of.waiters) == 0 })
	maps.DeleteFunc(w.ids, func(_ int64, q driver.Queue) bool { return w.queues[q] == nil })
	w.room = max(remembered, 2*len(w.queues))
}

// enter adds someone who waits. missed says that there was a wake before.
func (w *wakes) enter(q driver.Queue) (wake chan struct{}, missed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of, wake := w.of(q), make(chan struct{}, 1)
	missed, of.missed = of.missed, false
	of.waiters[wake] = struct{}{}
	return wake, missed
}

// leave removes someone who waited. A wake that they did not notice any more is
// the next one's.
func (w *wakes) leave(q driver.Queue, wake chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.queues[q]
	delete(of.waiters, wake)
	select {
	case <-wake:
		of.signal()
	default:
	}
}

// wake wakes all who wait for q, or the next who does. open says that the reason
// may show only later, when a transaction commits: they are to look often then.
func (w *wakes) wake(q driver.Queue, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if of := w.queues[q]; of != nil {
		if open {
			of.stirred = time.Now()
		}
		of.signal()
	}
}

// wakeID wakes those who wait for the queue that notifications name so, if it is
// handled here.
func (w *wakes) wakeID(id int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if of := w.queues[w.ids[id]]; of != nil {
		of.signal()
	}
}

// wakeAll wakes everybody.
func (w *wakes) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, of := range w.queues {
		of.signal()
	}
}

// signal is called with mu held.
func (of *waiting) signal() {
	of.missed = of.missed || len(of.waiters) == 0
	for wake := range of.waiters {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// eager returns how soon one who waits for q is to look: after a quarter of the
// time since something was dispatched in a transaction that may not have
// committed then, and at the latest after poll.
func (w *wakes) eager(q driver.Queue, poll time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return min(poll, max(time.Since(w.queues[q].stirred)/4, time.Millisecond))
}
