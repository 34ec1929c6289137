package fanfare

import (
	"context"
	"time"
)

// A consumer claims more than there are free handlers for, so that these do not
// wait for the backend: as many as they began in the latest lookAhead. Where they
// are slow that is none. What no handler takes for patience, since those that run
// became slow meanwhile, is given back.
const (
	lookAhead = 5 * time.Millisecond
	patience  = 100 * time.Millisecond
)

// Where handlers take at least brisk events in lookAhead, and there are none for
// them or few results of theirs, these are left to gather: a call for many costs
// the backend little more than one for one.
const (
	brisk  = 8
	gather = time.Millisecond
)

// pace is how fast handlers take events.
type pace struct {
	since time.Time
	taken int // since then
	ahead int // how many they took in lookAhead before
}

// measure begins anew if the time since the last beginning is long enough to tell.
func (p *pace) measure() {
	took := time.Since(p.since)
	if took < lookAhead/5 {
		return
	}
	p.ahead = min(maxClaim, int(int64(p.taken)*int64(lookAhead)/int64(took)))
	p.since, p.taken = p.since.Add(took), 0
}

// waitForRoom waits until there is room for events and returns for how many, up to
// maxClaim. It returns 0 when the consumer is to leave.
func (c *consumer) waitForRoom() int {
	n := 0
	ok := c.settler.waitForRoom(c.quit) && c.waitUntil(c.quit, func() bool {
		n = c.room()
		return n > 0
	})
	if !ok {
		return 0
	}
	return n
}

// room is called with mu held.
func (c *consumer) room() int {
	free := c.cfg.concurrency - c.running
	if c.careful {
		return min(free, 1)
	}
	// In order are only one after the other; and what is claimed at most once is
	// lost with the process.
	if c.cfg.concurrency > 1 && !c.cfg.atMostOnce {
		c.pace.measure()
		if len(c.ahead) > c.pace.ahead/2 {
			return 0 // few large claims cost less than many small ones
		}
		free += c.pace.ahead - len(c.ahead)
	}
	return min(free, maxClaim)
}

// gathers reports whether events and results come so fast that they are left to gather.
func (c *consumer) gathers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pace.measure()
	return c.pace.ahead >= brisk
}

// waitUntil waits until ready, which is called with mu held and whenever there may
// be room, returns true. It returns false when ctx ends.
func (c *consumer) waitUntil(ctx context.Context, ready func() bool) bool {
	stuck := time.NewTimer(patience)
	defer stuck.Stop()
	for ctx.Err() == nil {
		c.mu.Lock()
		ok := ready()
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
		case <-c.moved:
			stuck.Reset(patience)
		case <-stuck.C:
			c.releaseAhead()
		}
	}
	return false
}

// begin lets handlers run for what was claimed, or adds it to what they run for
// next.
func (c *consumer) begin(leases ...*lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range leases {
		c.hold(l)
		if c.running < c.cfg.concurrency && !c.leaves() {
			c.running++
			go c.serve(l)
		} else {
			c.ahead = append(c.ahead, l)
		}
	}
}

// leaves reports that what is claimed is not begun but given back, by the fetcher:
// a handler's goroutine may be too late for the settler.
func (c *consumer) leaves() bool { return c.quit.Err() != nil && !c.cfg.atMostOnce }

// serve runs handlers one after the other, beginning with that for l.
func (c *consumer) serve(l *lease) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if l = c.next(false); l != nil { // a handler called runtime.Goexit
			go c.serve(l)
		}
	}()
	for l != nil {
		begin := time.Now()
		c.attempt(l)
		l = c.next(time.Since(begin) < lookAhead)
	}
	returned = true
}

// next returns what is to be handled next in the goroutine that asks, or nil if
// that is to end. quick says that its latest handler took less than lookAhead:
// slow ones that end together are no sign of a fast pace.
func (c *consumer) next(quick bool) *lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	if quick {
		c.pace.taken++
	}
	var l *lease
	if len(c.ahead) > 0 && !c.leaves() {
		l, c.ahead[0] = c.ahead[0], nil
		c.ahead = c.ahead[1:]
	} else {
		c.running--
		c.closeIfIdle()
	}
	if len(c.ahead) <= c.pace.ahead/2 { // else there is no room yet
		signal(c.moved)
	}
	return l
}

// attempt runs the handler for l, unless l is lost by now or the consumer leaves.
func (c *consumer) attempt(l *lease) {
	if l.ended != nil {
		defer close(l.ended)
	}
	if c.leaves() || c.expired(l) || l.isLost() {
		c.release(l)
		return
	}
	c.handle(l)
}

// releaseAhead gives back what no handler runs for.
func (c *consumer) releaseAhead() {
	c.mu.Lock()
	ahead := c.ahead
	c.ahead = nil
	c.mu.Unlock()
	for _, l := range ahead {
		c.release(l)
	}
}
