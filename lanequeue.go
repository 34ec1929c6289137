package fanfare

import "slices"

// laneQueue holds the ready events of a lane: those of one priority in their
// order, those of different ones weighted.
type laneQueue[T any] struct {
	rings  [3]ring[queued[T]] // by priority, from Low
	credit [3]int             // of the smooth weighted round robin
	n      int                // events
	gone   int                // about how many of them were withdrawn since they came
	last   *laneBatch[T]      // that may take one more event; or nil
	pool   batchPool[T]
}

// queued is what waits in the queue: a copy, or a batch.
type queued[T any] struct {
	copy  *localCopy
	batch *laneBatch[T]
}

// weights are how many events of each priority, from Low, are taken while all wait.
var weights = [...]int{1, 3, 6}

// putPlain queues an event without a copy.
func (q *laneQueue[T]) putPlain(event T, at int64, to *audience) {
	b := q.last
	if b == nil || b.to != to || len(b.items) == cap(b.items) {
		b = q.pool.get(to, q.n == 0)
		q.last = b
		q.rings[Normal-Low].put(queued[T]{batch: b})
	}
	b.items = append(b.items, plainItem[T]{event, at})
	q.n++
}

func (q *laneQueue[T]) putCopy(c *localCopy) {
	p := c.content.priority
	q.rings[p-Low].put(queued[T]{copy: c})
	q.n++
	if p == Normal {
		q.last = nil
	}
}

// take removes what is next: a copy, which it has claimed; or a batch, where
// nothing of another priority waits, and else one event of a batch.
func (q *laneQueue[T]) take() (taken queued[T], one plainItem[T], to *audience) {
	for q.n > 0 {
		r := q.pick()
		if b := r.first().batch; b != nil {
			return q.takeFrom(r, b)
		}
		c := r.take().copy
		q.n--
		if c.start() {
			return queued[T]{copy: c}, one, c.to
		}
		q.gone = max(q.gone-1, 0)
	}
	q.gone = 0
	return taken, one, nil
}

func (q *laneQueue[T]) takeFrom(r *ring[queued[T]], b *laneBatch[T]) (taken queued[T], one plainItem[T], to *audience) {
	to = b.to
	if n := b.left(); q.n > n && !q.alone(Normal) {
		slot := b.claim()
		one, *slot = *slot, one
		q.n--
		if n == 1 {
			q.leave(r, b)
			q.pool.put(b)
		}
		return taken, one, to
	}
	q.n -= b.left()
	q.leave(r, b)
	return queued[T]{batch: b}, one, to
}

// leave takes a batch out of its ring, where it is first.
func (q *laneQueue[T]) leave(r *ring[queued[T]], b *laneBatch[T]) {
	r.take()
	if q.last == b {
		q.last = nil
	}
}

// putBack puts events first that were taken with a batch.
func (q *laneQueue[T]) putBack(items []plainItem[T], to *audience) {
	if len(items) == 0 {
		return
	}
	b := q.pool.get(to, false)
	b.items = append(b.items, items...)
	clear(items)
	q.rings[Normal-Low].putBack(queued[T]{batch: b})
	q.n += len(b.items)
}

// alone reports whether only events of one priority wait.
func (q *laneQueue[T]) alone(p Priority) bool {
	for i := range q.rings {
		if q.rings[i].n > 0 && i != int(p-Low) {
			return false
		}
	}
	return true
}

// pick chooses the ring to take from. There must be an event.
func (q *laneQueue[T]) pick() *ring[queued[T]] {
	if q.alone(Normal) {
		return &q.rings[Normal-Low]
	}
	best, total := -1, 0
	for p := range q.rings {
		if q.rings[p].n == 0 {
			continue
		}
		q.credit[p] += weights[p]
		total += weights[p]
		if best < 0 || q.credit[p] >= q.credit[best] {
			best = p
		}
	}
	q.credit[best] -= total
	return &q.rings[best]
}

// withdrawn notes that a copy that is here was withdrawn. Once they are the
// greater part all of them are removed, so that what is put and withdrawn again
// and again while all workers are busy does not pile up.
func (q *laneQueue[T]) withdrawn() {
	q.gone++
	if q.gone < 64 || q.gone < q.n/2 {
		return
	}
	q.gone = 0
	for i := range q.rings {
		r := &q.rings[i]
		for range r.n {
			it := r.take()
			if it.copy != nil && it.copy.state.Load() != copyWaits {
				q.n--
				continue
			}
			r.put(it)
		}
	}
}

// empty takes everything, claimed for the caller to end.
func (q *laneQueue[T]) empty() (all []leftover) {
	for i := range q.rings {
		r := &q.rings[i]
		for r.n > 0 {
			it := r.take()
			switch {
			case it.batch != nil:
				for _, left := range it.batch.recall() {
					all = append(all, leftover{event: left.event, at: left.at})
				}
			case it.copy.withdraw():
				all = append(all, leftover{copy: it.copy})
			}
		}
	}
	q.n, q.gone, q.last = 0, 0, nil
	return slices.Clip(all)
}

// ring is a first-in first-out queue that grows and shrinks with what it holds.
type ring[E any] struct {
	slots []E // a power of two of them, or none
	head  int
	n     int
}

// leastRing is the size below which a ring does not shrink.
const leastRing = 64

func (r *ring[E]) put(e E) {
	r.grow()
	r.slots[(r.head+r.n)&(len(r.slots)-1)] = e
	r.n++
}

// putBack makes e the oldest.
func (r *ring[E]) putBack(e E) {
	r.grow()
	r.head = (r.head - 1) & (len(r.slots) - 1)
	r.slots[r.head] = e
	r.n++
}

// take removes the oldest. There must be one.
func (r *ring[E]) take() E {
	slot := &r.slots[r.head]
	e := *slot
	*slot = *new(E) // what it refers to is not ours any more
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
	if len(r.slots) > leastRing && r.n < len(r.slots)/8 {
		r.resize(len(r.slots) / 4)
	}
	return e
}

// first returns the oldest. There must be one.
func (r *ring[E]) first() E { return r.slots[r.head] }

func (r *ring[E]) grow() {
	if r.n == len(r.slots) {
		r.resize(max(8, 2*r.n))
	}
}

func (r *ring[E]) resize(size int) {
	slots := make([]E, size)
	k := copy(slots, r.slots[r.head:])
	copy(slots[k:], r.slots[:r.head])
	r.slots, r.head = slots, 0
}
