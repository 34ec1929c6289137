package audit

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is the result of an audit. An event counts once, its handling once for
// each group.
type Report struct {
	Seconds  float64
	Accepted int
	Unknown  int // outcome: may or may not run
	Refused  int
	Handled  int // copies that a handler returned nil for
	Runs     int

	Lost            int // copies of accepted events, neither handled nor dead
	Early           int // runs before their due time
	RefusedRan      int
	UnknownRan      int
	Ghosts          int // runs of what nobody dispatched
	FalseDuplicates int // new ids that were refused as known
	AcceptedTwice   int // ids
	CompletedTwice  int // copies, which Extra explains

	Extra           map[Cause]int // runs of a copy after its first, by cause
	Dead            map[string]int
	DeadUnexplained int
	Backlog         int      // events that were not drained
	Left            []string // what the backend should not have at the end
	Crashes         int      // processes that ended by themselves

	Rerun    Spread        // from a kill to the next run of what the process held
	Suspects Spread        // the same, of what was held at two kills or more: it runs alone
	Bound    time.Duration // of Rerun
	Faults   map[Cause]int

	Samples map[string][]string // of findings
}

func newReport(e Evidence) Report {
	r := Report{
		Seconds: e.Took.Seconds(), Backlog: e.Backlog, Left: e.Left, Bound: e.Lease + time.Second,
		Extra: map[Cause]int{}, Dead: map[string]int{}, Faults: map[Cause]int{}, Samples: map[string][]string{},
	}
	for _, f := range e.Faults {
		r.Faults[f.Kind]++
		if f.Kind == Crash {
			r.Crashes++
		}
	}
	return r
}

// Failures says what breaks the promise: nothing if it was kept.
func (r Report) Failures() []string {
	var all []string
	for _, f := range []struct {
		count int
		what  string
	}{
		{r.Lost, "lost"},
		{r.Early, "ran before they were due"},
		{r.RefusedRan, "ran though they were refused"},
		{r.Ghosts, "ran though nobody dispatched them"},
		{r.FalseDuplicates, "refused as duplicates, being new"},
		{r.AcceptedTwice, "accepted twice"},
		{r.Extra[Unexplained], "ran again without a cause"},
		{r.DeadUnexplained, "dead letters without a cause"},
		{r.Backlog, "not drained"},
		{len(r.Left), "left behind in the backend"},
		{r.Crashes, "processes that crashed"},
	} {
		if f.count > 0 {
			all = append(all, fmt.Sprintf("%d %s", f.count, f.what))
		}
	}
	return all
}

// Print writes the report as a table.
func (r Report) Print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("took", fmt.Sprintf("%.1fs", r.Seconds))
	line("accepted", fmt.Sprintf("%d events, %.0f a second", r.Accepted, float64(r.Accepted)/r.Seconds))
	line("unknown, refused", fmt.Sprintf("%d, %d", r.Unknown, r.Refused))
	line("handled", fmt.Sprintf("%d copies in %d runs, %.0f a second", r.Handled, r.Runs, float64(r.Runs)/r.Seconds))
	line("faults", counts(r.Faults))
	line("LOST", r.Lost)
	line("early", r.Early)
	line("retries", fmt.Sprintf("%d, of failures", r.Extra[Handler]))
	line("extra runs", fmt.Sprintf("%.3f %%: %s", 100*r.ExtraShare(), counts(r.unwanted())))
	line("completed twice", r.CompletedTwice)
	line("dead letters", counts(r.Dead))
	line("run after a kill", fmt.Sprintf("%v, goal %v", r.Rerun, r.Bound))
	line("of suspects", r.Suspects)
	for _, kind := range slices.Sorted(maps.Keys(r.Samples)) {
		for _, s := range r.Samples[kind] {
			line("  "+kind, s)
		}
	}
	for _, l := range r.Left {
		line("  left", l)
	}
	for _, f := range r.Failures() {
		line("FAIL", f)
	}
	w.Flush()
}

// ExtraShare is the share of all runs that a copy needed after its first, for
// another reason than that a handler failed.
func (r Report) ExtraShare() float64 {
	n := 0
	for _, v := range r.unwanted() {
		n += v
	}
	return float64(n) / float64(max(1, r.Runs))
}

func (r Report) unwanted() map[Cause]int {
	m := maps.Clone(r.Extra)
	delete(m, Handler)
	return m
}

func counts[K ~string](m map[K]int) string {
	s := ""
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s += fmt.Sprintf("%s %d, ", k, m[k])
	}
	if s == "" {
		return "none"
	}
	return s[:len(s)-2]
}

// Spread is how some durations are spread.
type Spread struct {
	Count                int
	P50, P99, P999, Most time.Duration
}

func newSpread(d []time.Duration) Spread {
	if len(d) == 0 {
		return Spread{}
	}
	slices.Sort(d)
	at := func(part float64) time.Duration { return d[min(len(d)-1, int(part*float64(len(d))))] }
	return Spread{Count: len(d), P50: at(.5), P99: at(.99), P999: at(.999), Most: d[len(d)-1]}
}

func (s Spread) String() string {
	const ms = time.Millisecond
	return fmt.Sprintf("p50 %v, p99 %v, p99.9 %v, max %v of %d",
		s.P50.Round(ms), s.P99.Round(ms), s.P999.Round(ms), s.Most.Round(ms), s.Count)
}
