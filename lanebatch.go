package fanfare

import (
	"reflect"
	"sync/atomic"
)

// laneBatch is some events without copies, in their order, for one audience. It
// is filled while it is the last of the queue. When it is the first, all workers
// of the lane take from it, without the lane's lock: so none of its events waits
// for a worker that is slow, and none is overtaken.
type laneBatch[T any] struct {
	taken atomic.Int64 // how many, or more than there are
	_     [56]byte     // the rest does not change while there are users

	to    *audience
	items []plainItem[T]
	users int // workers that may take from it; under the lane's lock
}

// plainItem is an event that needs no copy.
type plainItem[T any] struct {
	event T
	at    int64 // when it was dispatched: see Local.now
}

// claim takes the oldest event, or returns nil.
func (b *laneBatch[T]) claim() *plainItem[T] {
	if i := b.taken.Add(1) - 1; i < int64(len(b.items)) {
		return &b.items[i]
	}
	return nil
}

// left counts the events that claim would return.
func (b *laneBatch[T]) left() int {
	if b == nil {
		return 0
	}
	return max(len(b.items)-int(b.taken.Load()), 0)
}

// recall takes what is left, and lets nobody take more.
func (b *laneBatch[T]) recall() []plainItem[T] {
	if b == nil {
		return nil
	}
	n := int64(len(b.items))
	return b.items[min(b.taken.Swap(n), n):]
}

// batchPool makes batches, and keeps those that were used for the next time.
type batchPool[T any] struct {
	spare []*laneBatch[T]
	least int // the length of spare, since made was 0
	made  int
}

const (
	batchEvents = 64      // a batch is of at most so many events,
	batchBytes  = 8 << 10 // and of about so many bytes
	fewEvents   = 4       // or of so many, where there are not more
	longUnused  = 1 << 12 // batches were made without those that are too many
)

// get returns an empty batch, small if it may be.
func (p *batchPool[T]) get(to *audience, small bool) *laneBatch[T] {
	if p.made++; p.made == longUnused {
		keep := len(p.spare) - p.least
		clear(p.spare[keep:])
		p.spare, p.made, p.least = p.spare[:keep], 0, keep
	}
	var b *laneBatch[T]
	if last := len(p.spare) - 1; last >= 0 {
		b, p.spare[last] = p.spare[last], nil
		p.spare = p.spare[:last]
	} else {
		b = &laneBatch[T]{}
	}
	p.least = min(p.least, len(p.spare))
	size := fewEvents
	if !small {
		size = max(fewEvents, min(batchEvents, batchBytes/int(reflect.TypeFor[plainItem[T]]().Size())))
	}
	if cap(b.items) < size {
		b.items = make([]plainItem[T], 0, size)
	}
	b.to = to
	return b
}

// put takes a batch back that nobody uses, and that is taken.
func (p *batchPool[T]) put(b *laneBatch[T]) {
	b.to, b.items = nil, b.items[:0]
	b.taken.Store(0)
	p.spare = append(p.spare, b)
}
