package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/ledger"
)

// run is one call of a handler.
type run struct {
	process    int
	attempt    uint8
	result     uint8 // 0: it never returned
	start, end time.Duration
}

func (r run) String() string {
	return fmt.Sprintf("attempt %d of process %d from %v to %v (%d)", r.attempt, r.process, r.start, r.end, r.result)
}

// finished reports whether the run returned what settles its event.
func (r run) finished() bool { return r.result != 0 && r.result != ledger.Canceled }

// copyOf names the copy of an event of one group.
type copyOf struct {
	event ledger.Event
	group uint8
}

// runs are those of the copies that ran more than once, in the order in which they
// were claimed. That is not always the order in which they began: a process may
// learn late that it has claimed something.
type runs map[copyOf][]run

func (rs runs) note(process int, r ledger.Record) {
	key := copyOf{r.Event, r.Group}
	if r.Kind == ledger.Start {
		rs[key] = append(rs[key], run{process: process, attempt: r.Count, start: r.At})
		return
	}
	list := rs[key]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].process == process && list[i].attempt == r.Count && list[i].result == 0 {
			list[i].result, list[i].end = r.Value, r.At
			return
		}
	}
}

func (rs runs) sort() {
	for _, list := range rs {
		slices.SortFunc(list, func(a, b run) int {
			return cmp.Or(cmp.Compare(a.attempt, b.attempt), cmp.Compare(a.start, b.start))
		})
	}
}

// failed reports whether the run ended with a failure before t.
func (r run) failed(t time.Duration) bool {
	return (r.result == ledger.Failed || r.result == ledger.Panicked) && r.end <= t
}

// cause says why next ran, which was claimed after before.
func (h history) cause(before, next run, lease time.Duration) Cause {
	if before.failed(next.start) {
		return Handler
	}
	kind, secretly := h.died(before.process, before.start, next.start)
	if secretly || kind != "" && !before.finished() { // what is finished is not given back
		return kind
	}
	away, kind := h.gap(before, next, lease)
	if away >= enough(lease) {
		return kind
	}
	return Unexplained
}

// gap is for how long the process of before was away from when it may have claimed
// the event, at most one lease before a run of it began, until both had begun.
func (h history) gap(before, next run, lease time.Duration) (time.Duration, Cause) {
	if before.start > next.start { // it was claimed a lease before next was
		return h.away(before.process, next.start-2*lease, before.start)
	}
	return h.away(before.process, before.start-lease, next.start)
}

// enough is how long a process must be away for its events to be taken over: two
// thirds of a lease, less what the notes of a fault may be off.
func enough(lease time.Duration) time.Duration { return lease*2/3 - 50*time.Millisecond }

// orphaned returns how long after the kill of the process of before next began, if
// nothing else than the kill kept it from that.
func (h history) orphaned(before, next run) (time.Duration, bool) {
	for _, f := range h.in(before.process, before.start, next.start) {
		if f.Kind != Kill {
			continue
		}
		lost := next.attempt != before.attempt+1 // a claim between them, whose answer was
		away, _ := h.away(next.process, f.From, next.start)
		return next.start - f.To, !lost && away == 0 && !before.failed(f.From)
	}
	return 0, false
}
