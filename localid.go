package fanfare

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// localIDs knows the events of a topic that were given an id. Its lock comes
// before those of lanes and timers.
type localIDs struct {
	l *Local

	mu     sync.Mutex
	known  map[string]*trackedID
	own    ring[*trackedID] // ended, in their order; their callers chose them
	fanned ring[*trackedID] // ended ones that got their id from a fan-out
}

// mostFanned bounds how many ids of a fan-out stay known after their end. They
// are known so that a Redispatch may be repeated; without a bound every event of
// a busy fan-out would need memory for the whole window.
const mostFanned = 4096

// trackedID is what is known of one id.
type trackedID struct {
	id       string
	own      bool // the caller chose it
	held     bool // by a dispatch whose synchronous handlers run
	closed   bool // all of it has ended
	until    int64
	branches []idBranch
}

// idBranch is the copies of an event in one lane.
type idBranch struct {
	lane      anyLane
	copies    []*localCopy
	successor *localCopy // what RunAgain keeps until they have ended
}

// add takes new copies into the books.
func (t *trackedID) add(copies ...*localCopy) {
	for _, c := range copies {
		b := t.branch(c.to.lane)
		if b == nil {
			t.branches = append(t.branches, idBranch{lane: c.to.lane})
			b = &t.branches[len(t.branches)-1]
		}
		b.copies = append(b.copies, c)
	}
}

func (t *trackedID) branch(q anyLane) *idBranch {
	for i := range t.branches {
		if t.branches[i].lane == q {
			return &t.branches[i]
		}
	}
	return nil
}

// takes guesses whether a dispatch would be merged: a copy may start meanwhile.
func (t *trackedID) takes(c Conflict) bool {
	return slices.ContainsFunc(t.branches, func(b idBranch) bool {
		switch c {
		case Replace, PushBack:
			return b.any(copyWaits)
		case RunAgain:
			return b.any(copyRuns) && b.successor == nil
		}
		return false
	})
}

func (b *idBranch) any(state int32) bool {
	return slices.ContainsFunc(b.copies, func(c *localCopy) bool { return c.state.Load() == state })
}

// accept decides about a dispatch with an id.
func (n *localIDs) accept(ctx context.Context, d *localDispatch, r *routes) error {
	p := d.parcel()
	defer func() {
		n.unhold(d)
		if d.reserved {
			d.reserved = false
			d.l.unhold(&p.event)
		}
	}()
	refused, first, err := n.admit(d, r, p)
	if first { // the synchronous handlers
		if err := d.runSynchronous(ctx, r, p); err != nil {
			return err
		}
		d.ran = true // also if all of them were removed
		refused, _, err = n.admit(d, r, p)
	}
	d.l.endRefused(refused, err)
	return err
}

// admit merges the event with one of the same id, refuses it, or lets it wait.
// It reports first if synchronous handlers must decide before; where the id was
// not known it is held for d until then.
func (n *localIDs) admit(d *localDispatch, r *routes, p *localParcel) (refused []*localCopy, first bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := n.lookup(d.id)
	if known != nil && known.closed && d.conflict != KeepFirst {
		known = nil // it ended: what meets a living event finds none
	}
	first = len(r.synchronous) > 0 && !d.ran
	if known != nil && known != d.held {
		if !known.takes(d.conflict) {
			return nil, false, d.duplicate()
		}
		if first {
			return nil, true, nil
		}
		refused, err = n.merge(known, d, p)
		return refused, false, err
	}
	if known == nil {
		if err := d.reserve(p); err != nil {
			return nil, false, err
		}
		known = &trackedID{id: d.id, own: d.ownID, held: true}
		n.known[d.id], p.event.tracked, d.held = known, known, known
	}
	if first {
		return nil, true, nil
	}
	known.held, d.held = false, nil
	refused, err = d.spread(r, p)
	if err != nil {
		delete(n.known, d.id)
		return refused, false, err
	}
	n.close(known)
	return refused, false, nil
}

func (d *localDispatch) duplicate() error {
	return fmt.Errorf("dispatch %s to %s: %w", quoteName(d.id), quoteName(d.topic), ErrDuplicate)
}

// unhold frees an id that is still held for d: the dispatch came to nothing.
func (n *localIDs) unhold(d *localDispatch) {
	if d.held == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, d.id)
	d.held = nil
}

// merge lets an event change the copies of the one that is known.
func (n *localIDs) merge(known *trackedID, d *localDispatch, p *localParcel) (refused []*localCopy, err error) {
	merged := false
	for i := range known.branches {
		b := &known.branches[i]
		if d.conflict == RunAgain {
			ok, err := n.succeed(b, d, p, known)
			if err != nil {
				return nil, err
			}
			merged = merged || ok
			continue
		}
		for k, c := range b.copies {
			content := c.content
			if d.conflict == Replace {
				content = &p.content
			}
			fresh, ok, placed := n.move(c, content, d.due)
			if !ok {
				continue
			}
			b.copies[k], merged = fresh, true
			if !placed {
				refused = append(refused, fresh)
			}
		}
	}
	if !merged {
		return refused, d.duplicate()
	}
	return refused, nil
}

// succeed keeps an event beside the one that runs in a branch.
func (n *localIDs) succeed(b *idBranch, d *localDispatch, p *localParcel, known *trackedID) (bool, error) {
	to := b.lane.audience()
	if to == nil || b.successor != nil || !b.any(copyRuns) {
		return false, nil
	}
	if !d.reserved {
		if err := d.reserve(p); err != nil {
			return false, err
		}
		p.event.tracked = known
	}
	p.event.holds.Add(1)
	b.successor = d.copy(p, to)
	return true, nil
}

// move puts another copy in the place of one that waits.
func (n *localIDs) move(c *localCopy, content *localContent, due int64) (fresh *localCopy, ok, placed bool) {
	if !n.withdraw(c) {
		return nil, false, false
	}
	fresh = c.moved(content, due)
	return fresh, true, n.l.place(fresh)
}

// withdraw takes a copy away from where it waits.
func (n *localIDs) withdraw(c *localCopy) bool {
	if !c.withdraw() {
		return false
	}
	if !n.l.timers.remove(c) {
		c.to.lane.withdrawn()
	}
	return true
}

// attach lets a further copy wait. It reports false if there was no place.
func (n *localIDs) attach(c *localCopy) bool {
	if c.event.tracked == nil {
		return n.l.place(c)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c.event.tracked.add(c)
	return n.l.place(c)
}

// ended takes a copy out of the books. It returns a copy that was to wait then,
// if it found no place.
func (n *localIDs) ended(c *localCopy) (refused *localCopy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := c.event.tracked
	b := t.branch(c.to.lane)
	if b == nil {
		return nil
	}
	b.copies = slices.DeleteFunc(b.copies, func(other *localCopy) bool { return other == c })
	if s := b.successor; s != nil && len(b.copies) == 0 {
		b.successor = nil
		b.copies = append(b.copies, s)
		s.due = max(s.due, n.l.now())
		if !n.l.place(s) {
			return s
		}
	}
	n.close(t)
	return nil
}

// close forgets branches without copies. If none is left the id stays known for
// the window.
func (n *localIDs) close(t *trackedID) {
	t.branches = slices.DeleteFunc(t.branches, func(b idBranch) bool { return len(b.copies) == 0 })
	if len(t.branches) > 0 || t.held {
		return
	}
	t.branches, t.closed = nil, true
	now := n.l.now()
	t.until = now + int64(n.l.config.window)
	ended := &n.fanned
	if t.own {
		ended = &n.own
	}
	ended.put(t)
	for n.fanned.n > mostFanned {
		n.forget(n.fanned.take())
	}
	n.trim(&n.own, now)
	n.trim(&n.fanned, now)
}

// trimmedAtOnce bounds what one event does for those before it. It is more than
// one event adds, so that nothing piles up.
const trimmedAtOnce = 8

func (n *localIDs) trim(ended *ring[*trackedID], now int64) {
	for range trimmedAtOnce {
		if ended.n == 0 || ended.first().until > now {
			return
		}
		n.forget(ended.take())
	}
}

func (n *localIDs) forget(t *trackedID) {
	if n.known[t.id] == t {
		delete(n.known, t.id)
	}
}

// lookup returns what is known of an id, or nil.
func (n *localIDs) lookup(id string) *trackedID {
	t := n.known[id]
	if t == nil || t.closed && t.until <= n.l.now() {
		return nil
	}
	return t
}
