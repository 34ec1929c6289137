package fanfare

import (
	"container/heap"
	"slices"
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

// delayed is what the timers keep: a *localCopy, or an event that becomes one
// when it is due.
type delayed interface {
	// ready returns the copy, which is due then.
	ready(due int64) *localCopy
	audience() *audience
}

// add keeps something until it is due. It reports false because of close, or if
// all is for handlers that were removed: extract may have been there already.
func (t *timers) add(due int64, all ...delayed) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !slices.ContainsFunc(all, func(of delayed) bool { return of.audience().listens() }) {
		return false
	}
	first := t.heap.first()
	for _, of := range all {
		t.seq++
		t.heap.add(dueEntry{due: due, seq: t.seq, of: of})
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
	t.heap.remove(c.pos - 1)
	return true
}

// extract takes out what is for audiences of which gone is true.
func (t *timers) extract(gone func(*audience) bool) (out []*localCopy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := dueHeap{}
	for i := range t.heap.n {
		e := *t.heap.at(i)
		if gone(e.of.audience()) {
			e.place(0)
			out = append(out, e.of.ready(e.due))
			continue
		}
		kept.append(e)
	}
	t.heap = kept
	heap.Init(&t.heap)
	return out
}

// close ends the goroutine and returns what it had kept: first what is due
// already, then the rest. Both are in order.
func (t *timers) close() (due, later []dueEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	close(t.quit)
	now := t.now()
	for t.heap.n > 0 {
		e := t.heap.remove(0)
		if e.due <= now {
			due = append(due, e)
			continue
		}
		later = append(later, e)
	}
	return due, later
}

func (t *timers) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, sleep := t.take()
		for _, e := range due {
			t.fire(e.of.ready(e.due))
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
func (t *timers) take() (due []dueEntry, sleep time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for t.heap.n > 0 {
		wait := time.Duration(t.heap.first().due - now)
		if wait > 0 {
			return due, min(wait, t.interval)
		}
		if len(due) == firedAtOnce {
			return due, 0
		}
		due = append(due, t.heap.remove(0))
	}
	return due, -1
}

// dueHeap is a heap.Interface. It grows and shrinks by blocks, so that nothing is
// copied and little is unused, however many wait.
type dueHeap struct {
	blocks []*[dueBlock]dueEntry
	n      int
}

const dueBlock = 256

// dueEntry is one thing that waits.
type dueEntry struct {
	due int64
	seq uint64
	of  delayed
}

// place tells a copy where it is, from 1, or 0 if it is not in the heap.
func (e *dueEntry) place(pos int) {
	if c, ok := e.of.(*localCopy); ok {
		c.pos = pos
	}
}

func (h *dueHeap) at(i int) *dueEntry { return &h.blocks[i/dueBlock][i%dueBlock] }

// first returns the entry that is due first, or none.
func (h *dueHeap) first() dueEntry {
	if h.n == 0 {
		return dueEntry{}
	}
	return *h.at(0)
}

// add and remove are for what Push and Remove of package heap are for, but make
// no interface of each entry.

func (h *dueHeap) add(e dueEntry) {
	h.append(e)
	heap.Fix(h, h.n-1)
}

func (h *dueHeap) remove(i int) dueEntry {
	last := h.n - 1
	h.Swap(i, last)
	e := *h.at(last)
	*h.at(last) = dueEntry{}
	e.place(0)
	h.n = last
	if unused := len(h.blocks) - (h.n+dueBlock-1)/dueBlock; unused > 1 {
		h.blocks[len(h.blocks)-1] = nil
		h.blocks = h.blocks[:len(h.blocks)-1]
	}
	if i < h.n {
		heap.Fix(h, i)
	}
	return e
}

func (h *dueHeap) append(e dueEntry) {
	if h.n == len(h.blocks)*dueBlock {
		h.blocks = append(h.blocks, new([dueBlock]dueEntry))
	}
	h.n++
	*h.at(h.n - 1) = e
	e.place(h.n)
}

func (h *dueHeap) Len() int { return h.n }

func (h *dueHeap) Less(i, j int) bool {
	a, b := h.at(i), h.at(j)
	if a.due != b.due {
		return a.due < b.due
	}
	return a.seq < b.seq
}

func (h *dueHeap) Swap(i, j int) {
	a, b := h.at(i), h.at(j)
	*a, *b = *b, *a
	a.place(i + 1)
	b.place(j + 1)
}

// Push and Pop are for functions of package heap that are not used.

func (h *dueHeap) Push(x any) { h.append(x.(dueEntry)) }
func (h *dueHeap) Pop() any   { return h.remove(h.n - 1) }
