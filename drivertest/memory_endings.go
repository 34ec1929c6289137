package drivertest

import "time"

// endings remembers the ids that were acked or buried, each for the window. The
// zero value remembers nothing.
type endings struct {
	byID  map[string]ending
	order []ending // by the instant until which they are known
}

type ending struct {
	id    string
	token string // of the claim that ended it
	until time.Time
}

func (e *endings) remember(id, token string, now time.Time, window time.Duration) {
	e.forgetOld(now)
	if e.byID == nil {
		e.byID = map[string]ending{}
	}
	last := ending{id, token, now.Add(window)}
	e.byID[id] = last
	e.order = append(e.order, last)
}

func (e *endings) known(id string, now time.Time) bool {
	last, ok := e.byID[id]
	return ok && last.until.After(now)
}

func (e *endings) forget(id string) { delete(e.byID, id) }

func (e *endings) forgetOld(now time.Time) {
	for len(e.order) > 0 && !e.order[0].until.After(now) {
		id := e.order[0].id
		if !e.known(id, now) {
			delete(e.byID, id)
		}
		e.order = e.order[1:]
	}
}
