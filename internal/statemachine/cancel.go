package statemachine

import "time"

// cancel cancels a message, which may run or be gone.
func (m *machine) cancel() {
	id := pick(m, "id", ids...)
	m.request(func() { m.cancelThis(id) })
}

func (m *machine) cancelThis(id string) {
	var canceled bool
	var err error
	b := m.any()
	now := m.at(func() { canceled, err = b.Cancel(m.Context(), m.topic, id) })
	m.must("Cancel", err)
	removed, runs := false, false
	for _, g := range m.groups {
		switch c := g.live[id]; {
		case c == nil:
		case c.waits(now):
			removed = true
			delete(g.live, id)
			delete(g.settled, id)
		default:
			runs = true
			c.kept = nil
		}
	}
	if want := removed && !runs; canceled != want {
		m.failUnlessLost("Cancel of %q = %t, want %t", id, canceled, want)
	}
	if removed && !runs {
		for _, g := range m.groups {
			delete(g.known, id)
			delete(g.settled, id)
		}
	}
}

// reschedule changes when a message is due.
func (m *machine) reschedule() {
	id := pick(m, "id", ids...)
	at := m.clock.Now().Truncate(time.Microsecond).Add(pick(m, "at", -long, 0, m.delay(), m.delay()))
	m.request(func() { m.rescheduleThis(id, at) })
}

func (m *machine) rescheduleThis(id string, at time.Time) {
	for _, g := range m.groups {
		if c := g.live[id]; c != nil && c.kept != nil {
			m.SkipNow() // whether what is kept is moved too is left open
		}
	}
	var moved bool
	var err error
	b := m.any()
	now := m.at(func() { moved, err = b.Reschedule(m.Context(), m.topic, id, at) })
	m.must("Reschedule", err)
	want := false
	for _, g := range m.groups {
		if c := g.live[id]; c != nil && c.waits(now) {
			want = true
			c.postpone(dueTime(now, 0, at))
			delete(g.settled, id)
		}
	}
	if moved != want {
		m.failUnlessLost("Reschedule of %q = %t, want %t", id, moved, want)
	}
}
