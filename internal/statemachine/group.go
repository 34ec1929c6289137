package statemachine

import (
	"context"

	"github.com/fanfare-go/fanfare/driver"
)

// pause pauses a group or the topic, or ends that.
func (m *machine) pause() {
	g, resume := m.group(), m.chance("resume", 2)
	if m.chance("whole topic", 3) {
		g = nil
	}
	m.request(func() { m.setPaused(g, !resume) })
}

// setPaused pauses a group, or the topic if g is nil.
func (m *machine) setPaused(g *group, paused bool) {
	q, flag := driver.Queue{Topic: m.topic}, &m.paused
	if g != nil {
		q, flag = m.queue(g), &g.paused
	}
	b := m.any()
	call := b.Resume
	if paused {
		call = b.Pause
	}
	m.change("Pause or Resume", q, call)
	*flag = paused
}

// subscribe adds a group, or removes it.
func (m *machine) subscribe() {
	g, remove := m.group(), m.chance("unsubscribe", 3)
	m.request(func() {
		if remove {
			m.unsubscribeThis(g)
			return
		}
		m.change("Subscribe", m.queue(g), m.any().Subscribe)
		g.subscribed = true
	})
}

// unsubscribeThis removes a group, which is not paused any more by then: whether a
// later group of its name is paused is left open.
func (m *machine) unsubscribeThis(g *group) {
	if g.paused {
		m.setPaused(g, false)
	}
	m.change("Unsubscribe", m.queue(g), m.any().Unsubscribe)
	g.subscribed = false
	clear(g.live)
	clear(g.dead)
	clear(g.settled)
	for id := range g.known {
		g.forgetSurely(id)
	}
}

func (m *machine) change(what string, q driver.Queue, call func(context.Context, driver.Queue) error) {
	m.Helper()
	var err error
	m.at(func() { err = call(m.Context(), q) })
	m.must(what, err)
}
