// Package audit finds out from what the processes of a soak wrote down whether
// the promise was kept: nothing accepted is lost, nothing runs before its time or
// though it was refused, and nothing runs again without a cause.
package audit

import (
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/load"
)

// Groups is the number of groups of a soak.
const Groups = 2

// Evidence is what an audit goes by.
type Evidence struct {
	Dir     string // of the ledgers
	Load    load.Load
	Lease   time.Duration
	Faults  []Fault
	Dead    []Dead
	Left    []string // what the backend still has at the end and should not
	Backlog int      // that was not drained
	Took    time.Duration
}

// Dead is a dead letter.
type Dead struct {
	Event  ledger.Event
	Group  int
	Reason string
}

// Check reads the ledgers.
func Check(e Evidence) (Report, error) {
	a := auditor{Evidence: e, book: book{}, runs: runs{}, report: newReport(e)}
	producers, err := ledger.List(e.Dir, ledger.Producer)
	if err != nil {
		return Report{}, err
	}
	consumers, err := ledger.List(e.Dir, ledger.Consumer)
	if err != nil {
		return Report{}, err
	}
	delay := func(id ledger.Event) time.Duration { return e.Load.Trait(id).Delay }
	for _, f := range producers {
		if err := f.Read(func(r ledger.Record) { a.book.produce(r, delay) }); err != nil {
			return Report{}, err
		}
	}
	for _, f := range consumers {
		if err := f.Read(func(r ledger.Record) { a.consume(f.Process, r) }); err != nil {
			return Report{}, err
		}
	}
	a.bury()
	a.judgeEvents()
	for _, f := range consumers {
		f.Rewind()
		if err := f.Read(func(r ledger.Record) { a.collect(f.Process, r) }); err != nil {
			return Report{}, err
		}
	}
	a.judgeRuns()
	a.judgeDead()
	return a.report, nil
}

// auditor is an audit that is under way.
type auditor struct {
	Evidence
	book   book
	runs   runs
	report Report
	stalls []Fault // that the processes themselves noted
}

// consume notes a record of a consumer.
func (a *auditor) consume(process int, r ledger.Record) {
	switch {
	case r.Kind == ledger.Stall:
		length := time.Duration(r.Value) * 10 * time.Millisecond
		a.stalls = append(a.stalls, Fault{Kind: Stall, Process: process, From: r.At - length, To: r.At})
		return
	case !a.book.knows(r.Event):
		if r.Kind == ledger.Start {
			a.report.Ghosts++
		}
		return
	}
	e := a.book.at(r.Event)
	e.consume(r)
	if r.Kind != ledger.Start {
		return
	}
	a.report.Runs++
	if r.At < e.earliest || r.Value == ledger.Early {
		a.report.Early++
		a.report.sample("early", "%v of group %d ran at %v, due at %v at the earliest", r.Event, r.Group, r.At, e.earliest)
	}
}

// bury marks the copies that are dead letters.
func (a *auditor) bury() {
	for _, d := range a.Dead {
		if a.book.knows(d.Event) && d.Group < Groups {
			a.book.at(d.Event).groups[d.Group].dead = true
		}
	}
}

// judgeEvents counts outcomes, and finds what was lost.
func (a *auditor) judgeEvents() {
	for process, list := range a.book {
		for seq := range list {
			a.judgeEvent(ledger.NewEvent(process, seq), &list[seq])
		}
	}
}

func (a *auditor) judgeEvent(id ledger.Event, e *event) {
	r := &a.report
	ran := false
	for g, c := range e.groups {
		ran = ran || c.starts > 0
		switch {
		case c.dones > 0:
			r.Handled++
		case e.is(ledger.Accepted) && !c.dead:
			r.Lost++
			r.sample("lost", "%v of group %d, %d runs, due %v", id, g, c.starts, e.earliest)
		}
		r.CompletedTwice += max(0, int(c.dones)-1)
	}
	switch {
	case e.is(ledger.Accepted):
		r.Accepted++
	case e.is(ledger.Unknown):
		r.Unknown++
		if ran {
			r.UnknownRan++
		}
	case e.is(ledger.Refused):
		r.Refused++
		if ran {
			r.RefusedRan++
			r.sample("refused", "%v", id)
		}
	case ran:
		r.Ghosts++
	}
	if e.facts&falseDuplicate != 0 {
		r.FalseDuplicates++
		r.sample("duplicate", "%v", id)
	}
	if e.facts&twice != 0 {
		r.AcceptedTwice++
		r.sample("accepted twice", "%v", id)
	}
}

// collect notes a run of a copy that ran more than once.
func (a *auditor) collect(process int, r ledger.Record) {
	if r.Kind == ledger.Stall || !a.book.knows(r.Event) {
		return
	}
	if c := a.book.at(r.Event).groups[r.Group]; c.starts > 1 || c.dead {
		a.runs.note(process, r)
	}
}

// judgeRuns finds the cause of each run but the first of its copy.
func (a *auditor) judgeRuns() {
	h := newHistory(append(slices.Clone(a.Faults), a.stalls...))
	a.runs.sort()
	var again, suspects []time.Duration
	for key, list := range a.runs {
		failures := 0
		for i := 1; i < len(list); i++ {
			before, next := list[i-1], list[i]
			cause := h.cause(before, next, a.Lease)
			a.report.Extra[cause]++
			if cause == Unexplained {
				away, kind := h.gap(before, next, a.Lease)
				a.report.sample("unexplained", "%v of group %d: %v, then %v; away %v %s; %v", key.event, key.group, before, next, away, kind,
					h.in(before.process, before.start-a.Lease, next.start))
			}
			if cause == Handler {
				failures++
			}
			switch took, alone := h.orphaned(before, next); {
			case !alone:
			case int(next.attempt)-1-failures >= suspect:
				suspects = append(suspects, took)
			default:
				again = append(again, took)
				if took > a.report.Bound {
					a.report.sample("late", "%v of group %d: %v, then %v; kill %v before", key.event, key.group, before, next, took)
				}
			}
		}
	}
	a.report.Rerun, a.report.Suspects = newSpread(again), newSpread(suspects)
}

// judgeDead finds dead letters that their runs do not justify.
func (a *auditor) judgeDead() {
	for _, d := range a.Dead {
		a.report.Dead[d.Reason]++
		failures, given := 0, false
		for _, r := range a.runs[copyOf{d.Event, uint8(d.Group)}] {
			if r.result == ledger.Failed || r.result == ledger.Panicked {
				failures++
			}
			given = given || r.result == ledger.Given
		}
		if !given && failures < load.MaxAttempts && d.Reason != poison {
			a.report.DeadUnexplained++
			a.report.sample("dead", "%v of group %d: %s after %d failures", d.Event, d.Group, d.Reason, failures)
		}
	}
}

const (
	poison  = "poison" // fanfare.ReasonPoison
	suspect = 2        // lost leases make an event run alone
)

// sample keeps the first few of a kind of finding for the report.
func (r *Report) sample(kind, format string, args ...any) {
	const few = 5
	if len(r.Samples[kind]) < few {
		r.Samples[kind] = append(r.Samples[kind], fmt.Sprintf(format, args...))
	}
}
