package sqlqueue

import (
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// wakes are the consumers of this process that wait, by queue.
type wakes struct {
	mu     sync.Mutex
	queues map[driver.Queue]*waiting
}

// waiting is what is known of those who wait for one queue.
type waiting struct {
	waiters map[chan struct{}]struct{}
	missed  bool      // it was woken while nobody waited
	stirred time.Time // when something was dispatched in a transaction that may still be open
}

// know begins to keep the wakes of a queue that is handled here.
func (w *wakes) know(q driver.Queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queues == nil {
		w.queues = map[driver.Queue]*waiting{}
	}
	if w.queues[q] == nil {
		w.queues[q] = &waiting{waiters: map[chan struct{}]struct{}{}}
	}
}

// enter adds someone who waits. missed says that there was a wake before.
func (w *wakes) enter(q driver.Queue) (wake chan struct{}, missed bool) {
	w.know(q)
	w.mu.Lock()
	defer w.mu.Unlock()
	of, wake := w.queues[q], make(chan struct{}, 1)
	missed, of.missed = of.missed, false
	of.waiters[wake] = struct{}{}
	return wake, missed
}

func (w *wakes) leave(q driver.Queue, wake chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.queues[q].waiters, wake)
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
	of.missed = len(of.waiters) == 0
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
