// Package ledger is what the processes of a soak write down: which events they
// are about to dispatch and what came of it, and which runs began and ended. Each
// record is in the file, by one write(2), before the process does the next step,
// so that kill -9 loses nothing of what was done.
package ledger

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Event names an event: the process that dispatched it and its place among the
// events of that process.
type Event uint64

const seqBits = 40

// NewEvent returns the name of event seq of a process.
func NewEvent(process, seq int) Event { return Event(process)<<seqBits | Event(seq) }

// Process returns the number of the process that dispatched the event.
func (e Event) Process() int { return int(e >> seqBits) }

// Seq returns the place of the event among those of its process, from 0 on.
func (e Event) Seq() int { return int(e & (1<<seqBits - 1)) }

func (e Event) String() string { return fmt.Sprintf("%d.%d", e.Process(), e.Seq()) }

// Kind is what a record tells.
type Kind uint8

// The kinds of records.
const (
	// Intent: Count events from Event on are about to be dispatched.
	Intent Kind = iota + 1
	// Outcome: a dispatch of Count events from Event on returned Value, an outcome.
	Outcome
	// Again is an Outcome of events that had been accepted before, and were
	// dispatched once more on purpose.
	Again
	// Start: a handler of Group begins with Event, for the Count-th time.
	Start
	// End: that handler returns Value, a result.
	End
	// Stall: the process got no time to run for Value hundredths of a second.
	Stall
	// Retry: Event, of which a dispatch was not accepted, is about to be
	// dispatched again.
	Retry
)

// The outcomes of a dispatch.
const (
	Accepted  uint8 = iota + 1
	Duplicate       // the id is known
	Known           // the id is known, perhaps from this dispatch
	Unknown         // may or may not be stored
	Refused         // not stored
)

// The results of a run.
const (
	Done     uint8 = iota + 1
	Failed         // an error
	Panicked       // a panic
	Given          // up: the handler discarded the event
	Canceled       // by the end of its context
)

// Early as the Value of a Start says that the event was not due by its own word.
const Early uint8 = 1

// Record is one entry.
type Record struct {
	Kind  Kind
	At    time.Duration // since the epoch of the soak, in whole microseconds
	Event Event
	Group uint8
	Count uint8 // 255 stands for all that is greater
	Value uint8
}

// size is that of a record in a file, in bytes.
const size = 16

// append adds the record to b: a number of 40 bits of microseconds and 24 of the
// small fields, and one for the event.
func (r Record) append(b []byte) []byte {
	small := uint64(r.Kind)<<20 | uint64(r.Group)<<16 | uint64(r.Count)<<8 | uint64(r.Value)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.At.Microseconds())<<24|small)
	return binary.LittleEndian.AppendUint64(b, uint64(r.Event))
}

func parse(b []byte) Record {
	first := binary.LittleEndian.Uint64(b)
	return Record{
		At:    time.Duration(first>>24) * time.Microsecond,
		Kind:  Kind(first >> 20 & 0xf),
		Group: uint8(first >> 16 & 0xf),
		Count: uint8(first >> 8),
		Value: uint8(first),
		Event: Event(binary.LittleEndian.Uint64(b[8:])),
	}
}
