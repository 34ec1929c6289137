package audit

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/load"
)

const lease = 2 * time.Second

// at is a time in seconds.
func at(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func TestCause(t *testing.T) {
	first := run{process: 1, attempt: 1, result: ledger.Done, start: at(10), end: at(10.1)}
	second := run{process: 2, attempt: 2, result: ledger.Done, start: at(12.1), end: at(12.2)}
	for _, tt := range []struct {
		name   string
		change func(before, next *run)
		faults []Fault
		want   Cause
	}{
		{"nothing happened", nil, nil, Unexplained},
		{"it failed", func(b, _ *run) { b.result = ledger.Failed }, nil, Handler},
		{"it failed later", func(b, _ *run) { b.result, b.end = ledger.Failed, at(12.5) }, nil, Unexplained},
		{"its process died", nil, []Fault{{Kill, 1, at(11), at(11)}}, Kill},
		{"another process died", nil, []Fault{{Kill, 2, at(11), at(11)}}, Unexplained},
		{"its process had died before", nil, []Fault{{Kill, 1, at(9), at(9)}}, Unexplained},
		{"its process stopped", func(b, _ *run) { b.result = ledger.Canceled }, []Fault{{Leave, 1, at(11), at(11.5)}}, Leave},
		{"its process stopped after it was done", nil, []Fault{{Leave, 1, at(11), at(11.5)}}, Unexplained},
		{"its process was killed while it stopped", nil, []Fault{{Leave, 1, at(11), at(11.5)}, {Kill, 1, at(11.4), at(11.5)}}, Kill},
		{"its process stopped without the server", nil, []Fault{{Leave, 1, at(11), at(11.5)}, {Outage, 0, at(11.2), at(11.9)}}, Leave},
		{"its process froze", nil, []Fault{{Freeze, 1, at(10), at(11.5)}}, Freeze},
		{"its process froze for a moment", nil, []Fault{{Freeze, 1, at(10), at(11)}}, Unexplained},
		{"the server was away", nil, []Fault{{Outage, 0, at(10.5), at(13)}}, Outage},
		{"the same second counts once", nil, []Fault{{Outage, 0, at(10), at(11)}, {Freeze, 1, at(10), at(11)}}, Unexplained},
		{"one after the other", nil, []Fault{{Outage, 0, at(10), at(11)}, {Freeze, 1, at(11), at(11.5)}}, Outage},
		{"connections were cut", nil, []Fault{{Cut, 1, at(10), at(12)}}, Unexplained},
		{"its claim was answered late", func(b, n *run) { b.start, b.end, n.start = at(14), at(14.1), at(12) },
			[]Fault{{Mute, 1, at(9.9), at(14)}}, Mute},
	} {
		before, next := first, second
		if tt.change != nil {
			tt.change(&before, &next)
		}
		if got := newHistory(tt.faults).cause(before, next, lease); got != tt.want {
			t.Errorf("%s: cause = %s, want %s", tt.name, got, tt.want)
		}
	}
}

// write writes the ledger of a process.
func write(t *testing.T, dir string, role ledger.Role, process int, records ...ledger.Record) {
	t.Helper()
	w, err := ledger.Create(dir, role, process, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(records...); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCheck has one event for each thing that can be said of one.
func TestCheck(t *testing.T) {
	const producer, consumer = 1, 2
	dir := t.TempDir()
	var produced, consumed []ledger.Record
	var now time.Duration
	next := 0
	dispatch := func(outcomes ...uint8) ledger.Event {
		e := ledger.NewEvent(producer, next)
		next++
		now += at(1)
		produced = append(produced, ledger.Record{Kind: ledger.Intent, At: now, Event: e, Count: 1})
		for _, o := range outcomes {
			produced = append(produced, ledger.Record{Kind: ledger.Outcome, At: now, Event: e, Count: 1, Value: o})
		}
		return e
	}
	handle := func(e ledger.Event, groups ...uint8) {
		for _, g := range groups {
			now += at(0.1)
			consumed = append(consumed,
				ledger.Record{Kind: ledger.Start, At: now, Event: e, Group: g, Count: 1},
				ledger.Record{Kind: ledger.End, At: now, Event: e, Group: g, Count: 1, Value: ledger.Done})
		}
	}
	handle(dispatch(ledger.Accepted), 0, 1)
	handle(dispatch(ledger.Accepted), 0)                     // lost for group 1
	handle(dispatch(ledger.Accepted), 0, 1, 1)               // twice
	handle(dispatch(), 0, 1)                                 // unknown, ran
	dispatch(ledger.Unknown)                                 // unknown, did not run
	dispatch(ledger.Refused)                                 // refused
	handle(dispatch(ledger.Refused), 0, 1)                   // refused, ran
	handle(dispatch(ledger.Unknown, ledger.Duplicate), 0, 1) // accepted at first
	handle(dispatch(ledger.Duplicate), 0, 1)                 // false duplicate
	dead := dispatch(ledger.Accepted)
	handle(dead, 0)
	handle(ledger.NewEvent(7, 7), 0) // ghost
	write(t, dir, ledger.Producer, producer, produced...)
	write(t, dir, ledger.Consumer, consumer, consumed...)

	r, err := Check(Evidence{
		Dir: dir, Load: load.Load{}, Lease: lease, Took: now,
		Dead: []Dead{{Event: dead, Group: 1, Reason: "exhausted"}}, Left: []string{"a key"}, Backlog: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Accepted: 6, Unknown: 2, UnknownRan: 1, Refused: 2, RefusedRan: 1, Handled: 14, Runs: 15,
		Lost: 1, CompletedTwice: 1, FalseDuplicates: 1, Ghosts: 1, DeadUnexplained: 1, Backlog: 3,
	}
	got := r
	got.Seconds, got.Extra, got.Dead, got.Faults, got.Samples, got.Left, got.Bound = 0, nil, nil, nil, nil, nil, 0
	if !equal(got, want) {
		t.Errorf("Check = %+v, want %+v", got, want)
	}
	if want := map[Cause]int{Unexplained: 1}; !maps.Equal(r.Extra, want) {
		t.Errorf("extra runs = %v, want %v", r.Extra, want)
	}
	if got := len(r.Failures()); got != 8 {
		t.Errorf("%d failures, want 8: %v", got, r.Failures())
	}
}

func equal(a, b Report) bool {
	counts := func(r Report) []int {
		return []int{
			r.Accepted, r.Unknown, r.UnknownRan, r.Refused, r.RefusedRan, r.Handled, r.Runs, r.Lost, r.Early,
			r.CompletedTwice, r.FalseDuplicates, r.AcceptedTwice, r.Ghosts, r.DeadUnexplained, r.Backlog, r.Crashes,
		}
	}
	return slices.Equal(counts(a), counts(b))
}
