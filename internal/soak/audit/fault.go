package audit

import (
	"fmt"
	"slices"
	"time"
)

// Fault is something bad that happened to a process, or to all.
type Fault struct {
	Kind    Cause
	Process int           // 0: all
	From    time.Duration // since the epoch of the soak
	To      time.Duration
}

func (f Fault) String() string {
	return fmt.Sprintf("%s of %d from %v to %v", f.Kind, f.Process, f.From, f.To)
}

// Cause is a sort of fault, and why an event ran again.
type Cause string

// The causes. The promise allows an event to run again for the first ones.
const (
	Kill    Cause = "kill"        // the process died
	Leave   Cause = "stop"        // the process was told to end, and gave the event back
	Freeze  Cause = "freeze"      // the process stood still
	Down    Cause = "server kill" // the server was killed, and down until it had started again
	Outage  Cause = "outage"      // the server stood still
	Mute    Cause = "half-open"   // the connections of the process carried nothing
	Stall   Cause = "stall"       // the machine was too busy for the process or the server
	Handler Cause = "handler"     // it failed

	// These explain nothing: no event may run again for them.
	Cut     Cause = "cut"     // connections were reset
	Slow    Cause = "slow"    // what the process sends and gets took longer
	Scripts Cause = "scripts" // the server forgot its scripts
	Crash   Cause = "crash"   // a process ended by itself

	Unexplained Cause = "unexplained"
)

// away reports whether a process that it happens to cannot reach the server.
func (c Cause) away() bool { return c == Freeze || c == Down || c == Outage || c == Mute || c == Stall }

// history is all faults, by process and in the order in which they began.
type history map[int][]Fault

func newHistory(faults []Fault) history {
	h := history{}
	for _, f := range faults {
		h[f.Process] = append(h[f.Process], f)
	}
	for _, list := range h {
		slices.SortFunc(list, func(a, b Fault) int { return int(a.From - b.From) })
	}
	return h
}

// in returns the faults of a process, without those of all, that overlap a span.
func (h history) in(process int, from, to time.Duration) []Fault {
	var in []Fault
	for _, f := range h[process] {
		if f.From > to {
			break
		}
		if f.To >= from {
			in = append(in, f)
		}
	}
	return in
}

// died returns how a process ended in a span, and whether it may have kept a
// result to itself. One that was told to end may have been killed before it had,
// or found no server to tell.
func (h history) died(process int, from, to time.Duration) (kind Cause, secretly bool) {
	for _, f := range h.in(process, from, to) {
		switch f.Kind {
		case Kill, Crash:
			return f.Kind, true
		case Leave:
			away, _ := h.away(process, f.From, f.To)
			kind, secretly = Leave, away > 0
		}
	}
	return kind, secretly
}

// away returns for how long of a span a process could not reach the server, and
// what was most of it.
func (h history) away(process int, from, to time.Duration) (time.Duration, Cause) {
	faults := append(h.in(process, from, to), h.in(0, from, to)...)
	slices.SortFunc(faults, func(a, b Fault) int { return int(a.From - b.From) })
	var sum, most time.Duration
	var cause Cause
	until := from
	for _, f := range faults {
		if !f.Kind.away() {
			continue
		}
		begin, end := max(f.From, until), min(f.To, to)
		if end <= begin {
			continue
		}
		sum += end - begin
		if end-begin > most {
			most, cause = end-begin, f.Kind
		}
		until = end
	}
	return sum, cause
}
