package fanfare

// item is one event in the queue of a lane. An event with a copy has what it is
// about there; event and at are for those without.
type item[T any] struct {
	event T
	copy  *localCopy
	to    *audience
	at    int64 // when it was dispatched: see Local.now
}

// laneQueue holds the ready events of a lane: those of one priority in their
// order, those of different ones weighted.
type laneQueue[T any] struct {
	rings  [3]*ring[item[T]] // by priority, from Low; nil until used
	credit [3]int            // of the smooth weighted round robin
	n      int
	gone   int // about how many of them were withdrawn since they came
}

// weights are how many events of each priority, from Low, are taken while all wait.
var weights = [...]int{1, 3, 6}

func (q *laneQueue[T]) put(it item[T], p Priority) {
	r := &q.rings[p-Low]
	if *r == nil {
		*r = &ring[item[T]]{}
	}
	(*r).put(it)
	q.n++
}

// take removes the next event, and claims its copy if it has one.
func (q *laneQueue[T]) take() (item[T], bool) {
	for q.n > 0 {
		it := q.pick().take()
		q.n--
		if it.copy == nil || it.copy.start() {
			return it, true
		}
		q.gone = max(q.gone-1, 0)
	}
	q.gone = 0
	return item[T]{}, false
}

// pick chooses the ring to take from. There must be an event.
func (q *laneQueue[T]) pick() *ring[item[T]] {
	if r := q.rings[Normal-Low]; r != nil && r.n == q.n {
		return r
	}
	best, total := -1, 0
	for p, r := range q.rings {
		if r == nil || r.n == 0 {
			continue
		}
		q.credit[p] += weights[p]
		total += weights[p]
		if best < 0 || q.credit[p] >= q.credit[best] {
			best = p
		}
	}
	q.credit[best] -= total
	return q.rings[best]
}

// withdrawn notes that a copy that is here was withdrawn. Once they are the
// greater part all of them are removed, so that what is put and withdrawn again
// and again while all workers are busy does not pile up.
func (q *laneQueue[T]) withdrawn() {
	q.gone++
	if q.gone < 64 || q.gone < q.n/2 {
		return
	}
	q.gone, q.n = 0, 0
	for _, r := range q.rings {
		if r == nil {
			continue
		}
		for range r.n {
			it := r.take()
			if it.copy == nil || it.copy.state.Load() == copyWaits {
				r.put(it)
			}
		}
		q.n += r.n
	}
}

// empty takes everything, claimed for the caller to end.
func (q *laneQueue[T]) empty() []item[T] {
	var all []item[T]
	for _, r := range q.rings {
		if r == nil {
			continue
		}
		for r.n > 0 {
			if it := r.take(); it.copy == nil || it.copy.withdraw() {
				all = append(all, it)
			}
		}
	}
	q.n, q.gone = 0, 0
	return all
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
	if r.n == len(r.slots) {
		r.resize(max(8, 2*r.n))
	}
	r.slots[(r.head+r.n)&(len(r.slots)-1)] = e
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

func (r *ring[E]) resize(size int) {
	slots := make([]E, size)
	k := copy(slots, r.slots[r.head:])
	copy(slots[k:], r.slots[:r.head])
	r.slots, r.head = slots, 0
}
