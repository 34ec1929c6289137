package drivertest

import (
	"cmp"
	"slices"
	"time"
)

// line holds the messages of one state in the order of their times, and those
// of one time in the order of their pushes. Adding at the end and removing at
// the front, which is what happens most, cost nothing that grows.
type line []*message

func (l line) search(m *message) (int, bool) {
	return slices.BinarySearchFunc(l, m, func(a, b *message) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order))
	})
}

func (l *line) add(m *message) {
	i, _ := l.search(m)
	*l = slices.Insert(*l, i, m)
}

func (l *line) remove(m *message) {
	i, ok := l.search(m)
	switch {
	case !ok:
		panic("drivertest: message " + m.id + " is not in its line")
	case i == 0:
		(*l)[0] = nil
		*l = (*l)[1:]
	default:
		*l = slices.Delete(*l, i, i+1)
	}
}

// reached returns the first message if its time has come.
func (l line) reached(now time.Time) *message {
	if len(l) == 0 || l[0].at.After(now) {
		return nil
	}
	return l[0]
}
