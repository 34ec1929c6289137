package statemachine

import (
	"cmp"
	"time"

	"pgregory.net/rapid"

	"github.com/fanfare-go/fanfare/driver"
)

// claim claims messages of a group.
func (m *machine) claim() {
	g := m.group()
	r := driver.ClaimRequest{
		Limit:      pick(m, "limit", 1, 1, 2, 3, 100),
		Lease:      m.leaseTime(),
		AtMostOnce: m.chance("at most once", 6),
		Consumer:   pick(m, "consumer", "", "c1", "c2"),
	}
	m.request(func() { m.claimThese(g, r) })
}

func (m *machine) claimThese(g *group, r driver.ClaimRequest) {
	var got driver.Claim
	var err error
	b := m.any()
	now := m.at(func() { got, err = b.Claim(m.Context(), m.queue(g), r) })
	m.must("Claim", err)
	if !(span{now.lo, now.hi}).contains(got.Now) {
		m.Fatalf("Claim says that it is %v, want %v to %v", got.Now, time.UnixMicro(now.lo), time.UnixMicro(now.hi))
	}
	if m.lost {
		return
	}
	left := m.ready(g, now)
	want := min(r.Limit, len(left))
	if n := len(got.Deliveries); n > r.Limit || m.exact && n < want || n == 0 && want > 0 {
		m.Fatalf("Claim of %d of group %q = %d messages, want %d", r.Limit, g.name, n, want)
	}
	followers := map[string]*message{} // what was kept until one that ended with this claim: it may come along
	latest := map[driver.Priority]time.Time{}
	for _, d := range got.Deliveries {
		c := cmp.Or(left[d.ID], followers[d.ID])
		if c == nil {
			m.Fatalf("claimed %q of group %q, which is not ready: %+v", d.ID, g.name, g.live[d.ID])
		}
		m.delivered(g, c, d, got.Now)
		if left[d.ID] != nil {
			if d.Due.Before(latest[d.Priority]) {
				m.Fatalf("claimed %q, due at %v, after one that is due at %v", d.ID, d.Due, latest[d.Priority])
			}
			latest[d.Priority] = d.Due
			delete(left, d.ID)
		}
		m.take(g, c, d, r, now)
		delete(followers, d.ID)
		if next := g.live[d.ID]; r.AtMostOnce && next != nil && next.ready(now) {
			followers[d.ID] = next
		}
	}
	for _, c := range left {
		if !latest[c.priority].IsZero() && c.due.hi < latest[c.priority].UnixMicro() {
			m.Fatalf("claimed what is due at %v and left %q, which is due before: %+v", latest[c.priority], c.id, c)
		}
	}
	m.announced(g, got, now)
}

// ready returns what may be claimed, by id.
func (m *machine) ready(g *group, now span) map[string]*message {
	all := map[string]*message{}
	for id, c := range g.live {
		if c.ready(now) && !m.paused && !g.paused {
			all[id] = c
		}
	}
	return all
}

// delivered compares a delivery with the copy that it is of.
func (m *machine) delivered(g *group, c *message, d driver.Delivery, now time.Time) {
	if string(d.Body) != c.body || d.Priority != c.priority || d.Attempt != c.attempts+1 || d.Failures != c.failures || !c.due.contains(d.Due) {
		m.Fatalf("claimed %+v (%q), want %+v", d, d.Body, *c)
	}
	if d.Due.After(now) {
		m.Fatalf("claimed %q at %v, which is due at %v", d.ID, now, d.Due)
	}
	if d.Fence <= g.fences[d.ID] {
		m.Fatalf("claimed %q with fence %d, after %d", d.ID, d.Fence, g.fences[d.ID])
	}
	if key := d.ID + "\x00" + d.Token; d.Token == "" || m.tokens[key] {
		m.Fatalf("claimed %q with token %q, as before", d.ID, d.Token)
	} else {
		m.tokens[key] = true
	}
	g.fences[d.ID] = d.Fence
}

// take does what a claim does to one message.
func (m *machine) take(g *group, c *message, d driver.Delivery, r driver.ClaimRequest, now span) {
	c.attempts++
	c.due = span{d.Due.UnixMicro(), d.Due.UnixMicro()}
	c.running, c.lease, c.token = true, now.add(r.Lease), d.Token
	delete(g.settled, d.ID)
	cl := &claim{Receipt: d.Receipt, of: g, copy: c}
	m.claims = append(m.claims, cl)
	if r.AtMostOnce {
		g.settle(c, driver.Settlement{Receipt: d.Receipt}, now)
		cl.ended = true
	}
}

// announced requires that a claim says rightly when there is more.
func (m *machine) announced(g *group, got driver.Claim, now span) {
	next := never
	for _, c := range g.live {
		at := c.due
		if c.running {
			at = c.lease
		}
		if c.ready(now) {
			at = now
		}
		if at.hi < next.hi {
			next = at
		}
	}
	switch {
	case m.paused || g.paused: // nothing is known of what comes
	case next == never:
		if got.Next >= 0 {
			m.Fatalf("Claim of group %q says that there is more in %v, want none", g.name, got.Next)
		}
	case got.Next < 0 || got.Now.Add(got.Next).UnixMicro() > max(next.hi, now.hi):
		m.Fatalf("Claim of group %q says that there is more in %v, want in %v", g.name, got.Next, time.UnixMicro(next.hi).Sub(got.Now))
	case m.exact && got.Next != time.UnixMicro(next.hi).Sub(got.Now):
		m.Fatalf("Claim of group %q says that there is more in %v, want in %v", g.name, got.Next, time.UnixMicro(next.hi).Sub(got.Now))
	}
}

// extend extends some claims of a group, valid ones and others.
func (m *machine) extend() {
	some := m.some("held")
	lease, consumer := m.leaseTime(), pick(m, "consumer", "", "c1", "c2")
	m.request(func() { m.extendThese(some, lease, consumer) })
}

func (m *machine) extendThese(some []*claim, lease time.Duration, consumer string) {
	g := some[0].of
	var held []driver.Receipt
	for _, c := range some {
		held = append(held, c.Receipt)
	}
	var lost []bool
	var err error
	b := m.any()
	now := m.at(func() { lost, err = b.Extend(m.Context(), m.queue(g), consumer, lease, held) })
	m.must("Extend", err)
	if len(lost) != len(held) {
		m.Fatalf("Extend of %d claims has %d answers", len(held), len(lost))
	}
	for i, c := range some {
		if lost[i] == c.valid() {
			m.Fatalf("Extend of %+v reports lost %t, want %t; the message is %+v", c.Receipt, lost[i], !c.valid(), g.live[c.ID])
		}
		if c.valid() {
			c.copy.lease = later(c.copy.lease, now.add(lease))
		}
	}
}

// some draws one to three claims of one group: the latest of ids, and others.
func (m *machine) some(what string) []*claim {
	if len(m.claims) == 0 {
		m.SkipNow() // there was no claim
	}
	valid := m.claims[:0:0]
	for _, c := range m.claims {
		if c.valid() {
			valid = append(valid, c)
		}
	}
	var chosen []*claim
	for range rapid.IntRange(1, 3).Draw(m.T, what) {
		from := m.claims
		if len(valid) > 0 && !m.chance("stale", 4) {
			from = valid
		}
		c := from[rapid.IntRange(0, len(from)-1).Draw(m.T, "claim")]
		if len(chosen) > 0 && (c.of != chosen[0].of || repeats(chosen, c)) {
			continue
		}
		chosen = append(chosen, c)
	}
	return chosen
}

// repeats reports that a claim of the id is among them.
func repeats(chosen []*claim, c *claim) bool {
	for _, other := range chosen {
		if other.ID == c.ID {
			return true
		}
	}
	return false
}
