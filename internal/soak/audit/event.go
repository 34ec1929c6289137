package audit

import (
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/ledger"
)

// event is what became of one event, packed: there are millions.
type event struct {
	earliest time.Duration // it may not run before
	facts    uint8
	groups   [Groups]copied
}

// copied is what became of the copy of a group.
type copied struct {
	starts, dones uint8 // 255 stands for all that is greater
	dead          bool
}

// The facts about an event.
const (
	intended uint8 = 1 << iota
	accepted
	unknown
	refused
	falseDuplicate // refused as known, though nobody had dispatched it
	twice          // accepted a second time
	open           // a dispatch of it has no outcome yet
)

// book has all events, by process and place.
type book map[int][]event

// at returns an event, which it makes if there is none.
func (b book) at(e ledger.Event) *event {
	list, seq := b[e.Process()], e.Seq()
	if seq >= len(list) {
		list = append(list, make([]event, seq+1-len(list))...)
		b[e.Process()] = list
	}
	return &list[seq]
}

// knows reports whether an event is in the book, or could be.
func (b book) knows(e ledger.Event) bool { return e.Seq() < len(b[e.Process()]) }

// produce notes a record of a producer.
func (b book) produce(r ledger.Record, delay func(ledger.Event) time.Duration) {
	for i := range int(r.Count) {
		id := r.Event + ledger.Event(i)
		e := b.at(id)
		switch r.Kind {
		case ledger.Intent:
			e.facts |= intended | open
			e.earliest = r.At + delay(id)
		case ledger.Retry:
			e.facts |= open
		case ledger.Outcome:
			e.facts &^= open
			e.meet(r.Value)
		case ledger.Again:
			if r.Value == ledger.Accepted {
				e.facts |= twice
			}
		}
	}
}

// meet notes the outcome of a dispatch. A duplicate is what an earlier dispatch
// stored, if there was one whose outcome is unknown.
func (e *event) meet(outcome uint8) {
	switch outcome {
	case ledger.Accepted:
		if e.facts&accepted != 0 {
			e.facts |= twice
		}
		e.facts |= accepted
	case ledger.Known:
		e.facts |= accepted
	case ledger.Duplicate:
		if e.facts&(unknown|accepted) == 0 {
			e.facts |= falseDuplicate
		}
		e.facts |= accepted
	case ledger.Unknown:
		e.facts |= unknown
	case ledger.Refused:
		e.facts |= refused
	}
}

// is reports whether the outcome of all dispatches together is the given one.
func (e *event) is(outcome uint8) bool {
	switch {
	case e.facts&intended == 0:
		return false
	case e.facts&accepted != 0:
		return outcome == ledger.Accepted
	case e.facts&(unknown|open) != 0: // without an outcome the producer died
		return outcome == ledger.Unknown
	}
	return outcome == ledger.Refused
}

// consume notes a record of a consumer.
func (e *event) consume(r ledger.Record) {
	c := &e.groups[r.Group]
	switch {
	case r.Kind == ledger.Start && c.starts < 255:
		c.starts++
	case r.Kind == ledger.End && r.Value == ledger.Done && c.dones < 255:
		c.dones++
	}
}
