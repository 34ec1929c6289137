package statemachine

import (
	"errors"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// push pushes some messages, whose ids may be in use.
func (m *machine) push() {
	var msgs []driver.Message
	for range pick(m, "messages", 1, 1, 2, 3) {
		msg := driver.Message{
			ID:       pick(m, "id", ids...),
			Delay:    m.delay(),
			At:       m.instant(),
			Priority: pick(m, "priority", driver.Normal, driver.High, driver.Low),
			Conflict: pick(m, "conflict", driver.KeepFirst, driver.Replace, driver.PushBack, driver.RunAgain, driver.RunAgain),
			Body:     fmt.Appendf(nil, "body %d", m.pushes),
		}
		m.pushes++
		msgs = append(msgs, msg)
	}
	m.request(func() { m.pushThese(msgs) })
}

func (m *machine) pushThese(msgs []driver.Message) {
	for _, msg := range msgs {
		if m.stranded(msg.ID) {
			m.SkipNow() // the id is in the default group, which no group has
		}
	}
	var outcomes []error
	var err error
	b := m.any()
	now := m.at(func() { outcomes, err = b.Push(m.Context(), m.topic, msgs) })
	m.must("Push", err)
	if len(outcomes) != len(msgs) {
		m.Fatalf("Push of %d messages has %d outcomes", len(msgs), len(outcomes))
	}
	for i, msg := range msgs {
		accepted := outcomes[i] == nil
		if !accepted && !errors.Is(outcomes[i], driver.ErrDuplicate) {
			m.Fatalf("Push of %q = %v", msg.ID, outcomes[i])
		}
		if may, mayNot := m.pushed(msg, now, accepted); accepted && !may || !accepted && !mayNot {
			m.lost = m.lost || m.failUnlessLost("Push of %q with conflict %d = %v, want accepted %t", msg.ID, msg.Conflict, outcomes[i], may)
		}
	}
}

// failUnlessLost fails the run, unless nobody knows what is right. It returns false.
func (m *machine) failUnlessLost(format string, args ...any) bool {
	m.Helper()
	if !m.lost {
		m.Fatalf(format, args...)
	}
	return false
}

// stranded reports that a copy of the id was stored while there was no group, and
// there is one now. What a push of that id does is left open.
func (m *machine) stranded(id string) bool {
	all := m.receivers()
	for _, g := range m.groups {
		if !g.subscribed && g.live[id] != nil && all[0] != g {
			return true
		}
	}
	return false
}

// receivers returns the groups that a message is stored for.
func (m *machine) receivers() []*group {
	var all []*group
	for _, g := range m.groups {
		if g.subscribed {
			all = append(all, g)
		}
	}
	if len(all) == 0 {
		all = m.groups[:1]
	}
	return all
}

// pushed does what a push does, and reports whether it may be accepted and whether
// it may be refused. accepted decides where both are right.
func (m *machine) pushed(msg driver.Message, now span, accepted bool) (may, mayNot bool) {
	due := dueTime(now, msg.Delay, msg.At)
	fresh := message{id: msg.ID, body: string(msg.Body), priority: msg.Priority, due: due}
	met, lives := false, false
	for _, g := range m.groups {
		if c := g.live[msg.ID]; c != nil {
			lives = true
			met = g.meet(c, msg.Conflict, fresh, now) || met
		}
	}
	switch {
	case met:
		return true, false
	case lives:
		return false, true
	}
	if sure, perhaps := m.knows(msg.ID, now); msg.Conflict == driver.KeepFirst && perhaps {
		if sure || !accepted {
			return !sure, true
		}
		mayNot = true
	}
	for _, g := range m.receivers() {
		c := fresh
		g.live[msg.ID] = &c
		delete(g.settled, msg.ID)
	}
	return true, mayNot
}

// knows reports whether an id ended within the window: for sure, and perhaps.
func (m *machine) knows(id string, now span) (sure, perhaps bool) {
	all := m.receivers()
	for _, g := range m.groups {
		known := g.known[id]
		receives := g.subscribed || all[0] == g
		sure = sure || receives && !known.sure.passed(now)
		perhaps = perhaps || !known.sure.passed(now) || !known.perhaps.passed(now)
	}
	return sure, perhaps
}

// meet lets a new message change a copy that lives, and reports whether it did.
func (g *group) meet(c *message, how driver.Conflict, fresh message, now span) bool {
	switch {
	case how == driver.Replace && c.waits(now):
		c.body, c.priority = fresh.body, fresh.priority
		c.postpone(fresh.due)
	case how == driver.PushBack && c.waits(now):
		c.postpone(fresh.due)
	case how == driver.RunAgain && !c.waits(now) && c.kept == nil:
		c.kept = &fresh
	default:
		return false
	}
	delete(g.settled, c.id)
	return true
}
