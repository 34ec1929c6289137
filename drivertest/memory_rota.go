package drivertest

// rota deals turns to the three priorities, High first, in the ratio 6:3:1. It is
// a smooth weighted round robin: the turns of each are spread evenly, and so are
// honoured over many claims of one message too.
type rota [3]int

var weights = rota{6, 3, 1}

// next returns the priority whose turn it is, as an index into queue.ready.
func (r *rota) next() int {
	best := 0
	for i, w := range weights {
		r[i] += w
		if r[i] > r[best] {
			best = i
		}
	}
	for _, w := range weights {
		r[best] -= w
	}
	return best
}

// take returns the ready message to claim next, or nil. A turn of a priority that
// has nothing ready goes to the first of high, normal and low that has.
func (q *queue) take() *message {
	if l := q.ready[q.turn.next()]; len(l) > 0 {
		return l[0]
	}
	for _, l := range q.ready {
		if len(l) > 0 {
			return l[0]
		}
	}
	return nil
}
