package statemachine

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/fanfare-go/fanfare/driver"
)

// compare requires that the backend holds what the model says, and nothing else.
func (m *machine) compare() {
	b := m.brokers[0]
	for _, g := range m.groups {
		q := m.queue(g)
		lists := map[driver.State][]driver.Record{}
		var err error
		now := m.at(func() {
			for _, s := range []driver.State{driver.Waiting, driver.Running, driver.Dead} {
				if err == nil {
					lists[s], err = b.List(m.Context(), q, s, 0, 100)
				}
			}
		})
		m.must("List", err)
		if m.lost {
			return
		}
		m.listed(g, lists, now)
		m.must("what is stored of "+g.name, m.audit(q))
	}
	m.counted(b)
}

// listed compares the lists of a group with the model.
func (m *machine) listed(g *group, lists map[driver.State][]driver.Record, now span) {
	seen := map[string]bool{}
	for _, r := range slices.Concat(lists[driver.Waiting], lists[driver.Running]) {
		c := g.live[r.ID]
		if c == nil || seen[r.ID] {
			m.Fatalf("group %q lists %+v, which is not there or in two places", g.name, r)
		}
		seen[r.ID] = true
		m.recorded(g, c, r, now)
	}
	if len(seen) != len(g.live) {
		m.Fatalf("group %q lists %d living messages, want %d", g.name, len(seen), len(g.live))
	}
	for _, r := range lists[driver.Dead] {
		if g.dead[r.ID] == nil {
			m.Fatalf("group %q lists %+v, which is not there", g.name, r)
		}
		m.buried(g, g.dead[r.ID], r)
	}
	if len(lists[driver.Dead]) != len(g.dead) {
		m.Fatalf("group %q lists %d dead messages, want %d", g.name, len(lists[driver.Dead]), len(g.dead))
	}
	for s, list := range lists {
		if !slices.IsSortedFunc(list, inOrder) {
			m.Fatalf("group %q lists %s messages in the wrong order: %+v", g.name, s, list)
		}
	}
}

// inOrder compares records by their places in a list.
func inOrder(a, b driver.Record) int {
	if a.State == driver.Ready && b.State == driver.Ready {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.Time.Compare(b.Time))
	}
	return cmp.Or(cmp.Compare(places[a.State], places[b.State]), a.Time.Compare(b.Time))
}

var places = map[driver.State]int{driver.Ready: 0, driver.Delayed: 1}

// recorded compares a record with the copy that it is of. A copy whose lease ran
// out is ready, but may be shown as running until somebody notices.
func (m *machine) recorded(g *group, c *message, r driver.Record, now span) {
	if string(r.Body) != c.body || r.Priority != c.priority || r.Attempts != c.attempts || r.Failures != c.failures ||
		r.LastError != c.lastError || r.Queue != m.queue(g) {
		m.Fatalf("record %+v (%q), want %+v", r, r.Body, *c)
	}
	state, at := driver.Delayed, c.due
	if c.due.passed(now) {
		state = driver.Ready
	}
	if c.running && (!c.lease.passed(now) || r.State == driver.Running) {
		state, at = driver.Running, c.lease
	}
	if r.State != state || !at.contains(r.Time) {
		m.Fatalf("%q is %s at %v, want %s at %v: %+v", r.ID, r.State, r.Time.UnixMicro(), state, at, *c)
	}
}

func (m *machine) buried(g *group, c *letter, r driver.Record) {
	if string(r.Body) != c.body || r.Priority != c.priority || r.Attempts != c.attempts || r.Failures != c.failures ||
		r.LastError != c.lastError || r.Reason != c.reason || r.State != driver.Dead || !c.died.contains(r.Time) || r.Queue != m.queue(g) {
		m.Fatalf("dead record %+v (%q), want %+v", r, r.Body, *c)
	}
}

// counted compares the counts of all groups with the model.
func (m *machine) counted(b broker) {
	var all []driver.Status
	var err error
	now := m.at(func() { all, err = b.Status(m.Context(), m.topic) })
	m.must("Status", err)
	if m.lost {
		return
	}
	shown := map[string]bool{}
	for _, s := range all {
		i := slices.IndexFunc(m.groups, func(g *group) bool { return m.queue(g) == s.Queue })
		if i < 0 {
			m.Fatalf("Status shows %+v", s)
		}
		shown[s.Queue.Group] = true
		m.summed(m.groups[i], s, now)
	}
	for _, g := range m.receivers() {
		if !shown[g.name] {
			m.Fatalf("Status does not show group %q: %+v", g.name, all)
		}
	}
}

// summed compares the counts of a group with the model.
func (m *machine) summed(g *group, s driver.Status, now span) {
	ready, running, delayed, expired := 0, 0, 0, 0
	oldest := int64(0)
	for _, c := range g.live {
		switch {
		case c.running && c.lease.passed(now):
			expired++
		case c.running:
			running++
		case c.due.passed(now):
			ready++
			oldest = max(oldest, now.lo-c.due.lo)
		default:
			delayed++
		}
	}
	if s.Ready < ready || s.Running < running || s.Ready+s.Running != ready+running+expired || s.Delayed != delayed || s.Dead != len(g.dead) {
		m.Fatalf("Status = %+v, want %d ready, %d running, %d expired, %d delayed, %d dead", s, ready, running, expired, delayed, len(g.dead))
	}
	if s.Paused != (g.paused || m.paused) {
		m.Fatalf("Status of group %q says paused %t, want %t", g.name, s.Paused, !s.Paused)
	}
	if m.exact && expired == 0 && s.OldestDue.Microseconds() != oldest {
		m.Fatalf("Status of group %q says that the oldest was due %v ago, want %d us", g.name, s.OldestDue, oldest)
	}
}

// look reads one message and one page, which must be as in the whole list.
func (m *machine) look() {
	b, g, id := m.any(), m.group(), pick(m, "id", ids...)
	s := pick(m, "state", driver.Waiting, driver.Ready, driver.Delayed, driver.Running, driver.Dead)
	offset, limit := rapid.IntRange(-6, 5).Draw(m.T, "offset"), rapid.IntRange(1, 5).Draw(m.T, "limit")
	var r driver.Record
	var whole, page []driver.Record
	var err, listErr, pageErr error
	now := m.at(func() {
		r, err = b.Get(m.Context(), m.queue(g), id)
		whole, listErr = b.List(m.Context(), m.queue(g), s, 0, 100)
		page, pageErr = b.List(m.Context(), m.queue(g), s, offset, limit)
	})
	m.must("List", errors.Join(listErr, pageErr))
	if m.lost {
		return
	}
	switch live, dead := g.live[id], g.dead[id]; {
	case live == nil && dead == nil:
		if !errors.Is(err, driver.ErrNotFound) {
			m.Fatalf("Get of %q = %v, want ErrNotFound", id, err)
		}
	case err != nil:
		m.Fatalf("Get of %q = %v", id, err)
	case live != nil:
		m.recorded(g, live, r, now)
	default:
		m.buried(g, dead, r)
	}
	from := min(offset, len(whole))
	if offset < 0 {
		from = max(offset+len(whole), 0)
	}
	want := whole[from:min(from+limit, len(whole))]
	if offset >= -len(whole) && !slices.EqualFunc(page, want, sameRecord) {
		m.Fatalf("List of %s messages from %d, %d at most, = %+v, want %+v", s, offset, limit, page, want)
	}
	for _, r := range whole {
		if r.State != s && (s != driver.Waiting || places[r.State] == 0 && r.State != driver.Ready) {
			m.Fatalf("List of %s messages has %+v", s, r)
		}
	}
}

func sameRecord(a, b driver.Record) bool {
	return a.ID == b.ID && a.State == b.State && a.Time.Equal(b.Time) && string(a.Body) == string(b.Body)
}

// drain claims and acks all that is left, once it is due: nothing accepted is lost.
func (m *machine) drain() {
	if m.lost {
		return
	}
	if m.exact {
		m.setPaused(nil, false)
	}
	for _, g := range m.groups {
		if !m.exact {
			continue
		}
		m.setPaused(g, false)
		for n := 0; len(g.live) > 0; n++ {
			if n > 100 {
				m.Fatalf("group %q is not drained by %d claims: %v", g.name, n, g.live)
			}
			m.clock.Advance(2*long + time.Second)
			before := len(m.claims)
			m.claimThese(g, driver.ClaimRequest{Limit: 100, Lease: long})
			for _, c := range m.claims[before:] {
				m.settleThese([]*claim{c}, []driver.Settlement{{Receipt: c.Receipt}})
			}
		}
	}
	m.compare()
}
