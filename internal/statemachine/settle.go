package statemachine

import (
	"errors"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// settle ends some claims of a group, valid ones and others.
func (m *machine) settle() {
	some := m.some("claims")
	all := make([]driver.Settlement, len(some))
	for i, c := range some {
		m.pushes++
		s := driver.Settlement{
			Receipt: c.Receipt,
			Verb:    pick(m, "verb", driver.Ack, driver.Retry, driver.Release, driver.Bury),
			Reason:  pick(m, "reason", "", "exhausted", "a:b"),
			Error:   fmt.Sprint("error ", m.pushes),
		}
		if s.Verb == driver.Retry || s.Verb == driver.Release {
			s.Delay = m.delay()
			s.At = m.instant()
		}
		if m.chance("garbage", 12) {
			s.Token += "0"
		}
		all[i] = s
	}
	if m.chance("twice", 6) {
		all = append(all, all[0])
		some = append(some, some[0])
	}
	m.request(func() { m.settleThese(some, all) })
}

func (m *machine) settleThese(some []*claim, all []driver.Settlement) {
	g := some[0].of
	var outcomes []error
	var err error
	b := m.any()
	now := m.at(func() { outcomes, err = b.Settle(m.Context(), m.queue(g), all) })
	m.must("Settle", err)
	if len(outcomes) != len(all) {
		m.Fatalf("Settle of %d claims has %d outcomes", len(all), len(outcomes))
	}
	for i, s := range all {
		c, err := some[i], outcomes[i]
		if err != nil && !errors.Is(err, driver.ErrLeaseLost) {
			m.Fatalf("Settle of %+v = %v", s, err)
		}
		genuine := s.Token == c.Token
		switch {
		case genuine && c.valid():
			if err != nil {
				m.Fatalf("Settle of %+v = %v, want it settled", s, err)
			}
			c.ended = true
			g.settle(c.copy, s, now)
		case genuine && g.settled[s.ID] == s.Token && c.remembered(now):
			if err != nil {
				m.Fatalf("Settle of %+v repeated = %v, want it settled", s, err)
			}
		case !c.ended && g.live[s.ID] == c.copy:
			if err == nil {
				m.failUnlessLost("Settle of %+v, which is lost, = nil; the message is %+v", s, *c.copy)
			}
		}
	}
}

// remembered reports that a broker has to know how c, the latest claim, ended.
func (c *claim) remembered(now span) bool {
	return c.of.live[c.ID] == c.copy || !c.of.known[c.ID].perhaps.passed(now)
}
