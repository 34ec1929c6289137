package fanfare

import (
	"container/heap"
	"sync"
	"time"
)

// timers keeps the events that are due later, and fires each when it is due, in
// the order of their due times; those of one instant in the order in which they
// came. One goroutine sleeps until the next of them is due. It starts with the
// first event.
type timers struct {
	now        func() int64 // nanoseconds, monotonic
	fire       func(*localCopy)
	interval   time.Duration // the longest sleep
	goroutines *sync.WaitGroup
	wake       chan struct{} // there is a new first event
	quit       chan struct{}

	mu      sync.Mutex
	heap    dueHeap
	seq     uint64
	running bool
	closed  bool
}

// firedAtOnce bounds how many events are taken under one lock.
const firedAtOnce = 256

// add keeps copies until they are due. It takes all of them, or reports false
// because of close.
func (t *timers) add(copies ...*localCopy) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	first := t.heap.first()
	for _, c := range copies {
		t.seq++
		c.seq = t.seq
		heap.Push(&t.heap, c)
	}
	if !t.running {
		t.running = true
		t.goroutines.Go(t.run)
		return true
	}
	if t.heap.first() != first {
		select {
		case t.wake <- struct{}{}:
		default: // it is awake or about to be
		}
	}
	return true
}

// remove takes a copy out, and reports false if it is not there.
func (t *timers) remove(c *localCopy) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.pos == 0 {
		return false
	}
	heap.Remove(&t.heap, c.pos-1)
	return true
}

// extract takes out the copies of which gone is true.
func (t *timers) extract(gone func(*localCopy) bool) (out []*localCopy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.heap[:0]
	for _, c := range t.heap {
		if gone(c) {
			c.pos = 0
			out = append(out, c)
			continue
		}
		kept = append(kept, c)
		c.pos = len(kept)
	}
	clear(t.heap[len(kept):])
	t.heap = kept
	heap.Init(&t.heap)
	return out
}

// close ends the goroutine and returns what it had kept: first what is due
// already, then the rest. Both are in order.
func (t *timers) close() (due, later []*localCopy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	close(t.quit)
	now := t.now()
	for len(t.heap) > 0 {
		c := heap.Pop(&t.heap).(*localCopy)
		if c.due <= now {
			due = append(due, c)
			continue
		}
		later = append(later, c)
	}
	return due, later
}

func (t *timers) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, sleep := t.take()
		for _, c := range due {
			t.fire(c)
		}
		if sleep == 0 {
			continue
		}
		var alarm <-chan time.Time
		if sleep > 0 {
			timer.Reset(sleep)
			alarm = timer.C
		}
		select {
		case <-alarm:
		case <-t.wake:
		case <-t.quit:
			return
		}
	}
}

// take removes what is due and returns how long to sleep after that: not at all
// with zero, until woken with less.
func (t *timers) take() (due []*localCopy, sleep time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for len(t.heap) > 0 {
		wait := time.Duration(t.heap.first().due - now)
		if wait > 0 {
			return due, min(wait, t.interval)
		}
		if len(due) == firedAtOnce {
			return due, 0
		}
		due = append(due, heap.Pop(&t.heap).(*localCopy))
	}
	return due, -1
}

// dueHeap is a heap.Interface. Its entries know their positions.
type dueHeap []*localCopy

func (h dueHeap) first() *localCopy {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (h dueHeap) Len() int { return len(h) }

func (h dueHeap) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].seq < h[j].seq
}

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}

// Push and Pop are for package heap.

func (h *dueHeap) Push(x any) {
	c := x.(*localCopy)
	*h = append(*h, c)
	c.pos = len(*h)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	if last >= leastHeap && last < cap(*h)/4 {
		*h = append(make(dueHeap, 0, cap(*h)/2), *h...)
	}
	c.pos = 0
	return c
}

// leastHeap is the capacity below which the heap does not give memory back.
const leastHeap = 1024
