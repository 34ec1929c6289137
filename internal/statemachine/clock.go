package statemachine

import (
	"math"
	"time"
)

// span is when something happened or will happen, as far as it is known: between
// two instants, in microseconds since 1970.
type span struct{ lo, hi int64 }

var never = span{math.MaxInt64, math.MaxInt64}

func (s span) add(d time.Duration) span {
	return span{s.lo + d.Microseconds(), s.hi + d.Microseconds()}
}

// later returns when both have happened.
func later(a, b span) span { return span{max(a.lo, b.lo), max(a.hi, b.hi)} }

// passed reports that s is not after now. The machine sees to it that they do
// not overlap.
func (s span) passed(now span) bool { return s.hi <= now.lo }

// unclear reports that s may be after now, or not.
func (s span) unclear(now span) bool { return s.lo <= now.hi && s.hi > now.lo }

// contains reports that s may be the instant t.
func (s span) contains(t time.Time) bool { return s.lo <= t.UnixMicro() && t.UnixMicro() <= s.hi }

// realTime is the time of this machine.
type realTime struct{}

func (realTime) Now() time.Time          { return time.Now() }
func (realTime) Advance(d time.Duration) { <-time.After(d) }

// margin is how long before it falls due a machine in real time waits for
// something, so that it does not fall due during a call.
const margin = 30 * time.Millisecond

// at makes a call when nothing falls due, and returns when that was. If something
// fell due nevertheless, the run ends: nobody knows what is right.
func (m *machine) at(call func()) span {
	if m.exact {
		m.clock.Advance(time.Microsecond) // else two claims could be at one instant, as they never are
	} else {
		m.calm()
	}
	begin := m.clock.Now().UnixMicro()
	call()
	now := span{begin, m.clock.Now().UnixMicro()}
	for _, d := range m.deadlines() {
		m.lost = m.lost || d.unclear(now)
	}
	return now
}

// calm waits until nothing falls due soon.
func (m *machine) calm() {
	for {
		now := m.clock.Now()
		wait := time.Duration(0)
		for _, d := range m.deadlines() {
			if d.hi >= now.UnixMicro() && d.lo <= now.Add(margin).UnixMicro() {
				wait = max(wait, time.UnixMicro(d.hi+1).Sub(now))
			}
		}
		if wait == 0 {
			return
		}
		m.clock.Advance(wait)
	}
}
