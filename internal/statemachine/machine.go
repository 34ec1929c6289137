package statemachine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/fanfare-go/fanfare/driver"
)

// broker is what a machine needs.
type broker interface {
	driver.Broker
	driver.Canceler
	driver.Inspector
	driver.DeadLetters
	driver.Purger
	driver.Pauser
}

// machine is one run: a backend, and what it must hold.
type machine struct {
	*rapid.T
	brokers []broker
	topic   string
	clock   Clock
	exact   bool // the clock stands still during a call
	lost    bool // nobody knows any more what is right
	audit   func(driver.Queue) error

	groups []*group
	paused bool
	claims []*claim
	tokens map[string]bool
	pushes int
	again  func() // repeats the latest request
}

var (
	names = []string{driver.DefaultGroup, "g1", "g2"}
	ids   = []string{"a", "b", "c", "d"}
)

const (
	brief = 100 * time.Millisecond
	long  = time.Hour
)

func newMachine(t *rapid.T, b Backend) *machine {
	m := &machine{T: t, topic: b.Topic, clock: b.Clock, exact: b.Clock != nil, audit: b.Audit, tokens: map[string]bool{}}
	for _, b := range b.Brokers {
		all, ok := b.(broker)
		if !ok {
			t.Fatalf("%T has not all abilities", b)
		}
		m.brokers = append(m.brokers, all)
	}
	if !m.exact {
		m.clock = realTime{}
	}
	if m.audit == nil {
		m.audit = func(driver.Queue) error { return nil }
	}
	for _, name := range names {
		m.groups = append(m.groups, newGroup(name))
	}
	return m
}

// actions are the steps, by name. Those that happen more often have several.
func (m *machine) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){}
	add := func(name string, weight int, step func()) {
		for i := range weight {
			actions[fmt.Sprint(name, i)] = func(*rapid.T) {
				if !m.lost {
					step()
				}
			}
		}
	}
	add("push", 5, m.push)
	add("claim", 5, m.claim)
	add("settle", 5, m.settle)
	add("extend", 2, m.extend)
	add("cancel", 1, m.cancel)
	add("reschedule", 1, m.reschedule)
	add("requeue", 2, m.requeue)
	add("delete dead", 1, m.deleteDead)
	add("purge", 1, m.purge)
	add("pause", 1, m.pause)
	add("subscribe", 1, m.subscribe)
	add("repeat", 2, m.repeat)
	add("advance", 3, m.advance)
	add("look", 2, m.look)
	actions[""] = func(*rapid.T) {
		if !m.lost {
			m.compare()
		}
	}
	return actions
}

// request makes a request, and remembers it as the latest.
func (m *machine) request(do func()) {
	m.again = do
	do()
}

func (m *machine) repeat() {
	if m.again == nil {
		m.SkipNow() // there was no request
	}
	m.again()
}

func pick[V any](m *machine, what string, from ...V) V {
	return rapid.SampledFrom(from).Draw(m.T, what)
}

func (m *machine) chance(what string, oneIn int) bool {
	choices := make([]bool, oneIn)
	choices[oneIn-1] = true
	return pick(m, what, choices...)
}

// any draws one of the handles.
func (m *machine) any() broker {
	return m.brokers[rapid.IntRange(0, len(m.brokers)-1).Draw(m.T, "handle")]
}

// group draws a group.
func (m *machine) group() *group {
	return m.groups[slices.Index(names, pick(m, "group", names...))]
}

// Context is not that of rapid, which is made outside of what surrounds a run.
func (m *machine) Context() context.Context { return context.Background() }

// Fatalf ends the run, which failed.
func (m *machine) Fatalf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (m *machine) queue(g *group) driver.Queue { return driver.Queue{Topic: m.topic, Group: g.name} }

func (m *machine) must(what string, err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%s: %v", what, err)
	}
}

// delay draws a delay. In real time few of them are brief, as each is waited for.
func (m *machine) delay() time.Duration {
	if m.exact {
		return pick(m, "delay", 0, 0, time.Microsecond, 2*time.Microsecond, brief, 2*brief, long)
	}
	return pick(m, "delay", 0, 0, 0, brief, long)
}

// instant draws an instant, or none, to be due at.
func (m *machine) instant() time.Time {
	if !m.chance("at", 4) {
		return time.Time{}
	}
	now := m.clock.Now().Truncate(time.Microsecond)
	return now.Add(pick(m, "at", -long, m.delay(), m.delay()))
}

func (m *machine) leaseTime() time.Duration {
	if m.exact {
		return pick(m, "lease", time.Microsecond, 3*time.Microsecond, brief, long, long)
	}
	return pick(m, "lease", brief, long, long, long)
}

// deadlines returns all instants at which something changes by itself.
func (m *machine) deadlines() []span {
	var all []span
	for _, g := range m.groups {
		for _, c := range g.live {
			all = append(all, c.due)
			if c.running {
				all = append(all, c.lease)
			}
		}
		for _, k := range g.known {
			all = append(all, k.sure, k.perhaps)
		}
	}
	return all
}

// advance lets time pass: often up to the instant at which something changes, or
// one unit before or after it.
func (m *machine) advance() {
	now := m.clock.Now()
	if m.exact && m.chance("some time", 3) {
		m.clock.Advance(pick(m, "time", time.Microsecond, time.Millisecond, brief, Window, 2*long))
		return
	}
	next := never
	near := now.Add(long / 2).UnixMicro()
	for _, d := range m.deadlines() {
		if d.lo > now.UnixMicro() && d.lo < next.lo && d.lo < near {
			next = d
		}
	}
	if next == never {
		m.SkipNow() // nothing changes soon
	}
	d := time.UnixMicro(next.hi).Sub(now)
	if m.exact { // the next call adds one microsecond
		d += pick(m, "around", -2*time.Microsecond, -time.Microsecond, 0)
	}
	m.clock.Advance(max(d, 0))
}
