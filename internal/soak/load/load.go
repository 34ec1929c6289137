// Package load is the work of a soak: what each event is like, and what its
// handlers do. Both follow from the seed and the name of the event alone, so
// that all processes agree on them, and two soaks of one seed are alike.
package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
)

// Load is the work of one soak.
type Load struct {
	Seed     uint64
	Failures bool // handlers fail and panic
	MaxDelay time.Duration
	Lease    time.Duration
	Long     int // of ten thousand runs take longer than a lease
}

// MaxAttempts is how often the handlers of a soak are tried.
const MaxAttempts = 5

// Payload is that of all events.
type Payload struct {
	Event ledger.Event
	Fill  string `json:",omitempty"`
}

// Trait is what an event is like.
type Trait struct {
	Named    bool // it has an id that its producer chose
	Delay    time.Duration
	Priority fanfare.Priority
	Fill     int // bytes of the payload that say nothing
}

// ID returns the id of a named event.
func ID(e ledger.Event) string { return "soak:" + e.String() }

// Trait returns what an event is like.
func (l Load) Trait(e ledger.Event) Trait {
	d := l.dice(e, 0)
	t := Trait{Named: d.chance(300)}
	if d.chance(200) && l.MaxDelay > 0 {
		t.Delay = time.Duration(d.next() % uint64(l.MaxDelay))
	}
	switch n := d.next() % 10; n {
	case 0:
		t.Priority = fanfare.High
	case 1:
		t.Priority = fanfare.Low
	}
	t.Fill = int(d.next() % 64)
	if d.chance(30) {
		t.Fill = 2000
	}
	return t
}

// Batch returns how many events a dispatch that begins with e has.
func (l Load) Batch(e ledger.Event) int {
	d := l.dice(e, 1)
	switch n := d.next() % 10; {
	case n < 3:
		return 1
	case n < 8:
		return 2 + int(d.next()%20)
	}
	return 20 + int(d.next()%80)
}

// Repeated reports whether an accepted named event is dispatched once more.
func (l Load) Repeated(e ledger.Event) bool {
	d := l.dice(e, 2)
	return d.chance(100)
}

// Turn is what a handler does with an event.
type Turn struct {
	Wait   time.Duration // how long it takes
	Result uint8         // Done, Failed, Panicked or Given
}

// Turn returns what the handler of a group does in an attempt at an event.
func (l Load) Turn(e ledger.Event, group, attempt int) Turn {
	d := l.dice(e, 3+group)
	t := Turn{Wait: l.wait(d), Result: ledger.Done}
	if !l.Failures {
		return t
	}
	if d.chance(1) && d.chance(200) { // whatever is tried
		t.Result = ledger.Failed
		return t
	}
	d = l.dice(e, 100*(attempt+1)+group)
	switch n := d.next() % 10_000; {
	case n < 100:
		t.Result = ledger.Failed
	case n < 120:
		t.Result = ledger.Panicked
	case n < 125:
		t.Result = ledger.Given
	}
	return t
}

var errHandler = errors.New("the soak wants this attempt to fail")

// Return is how a handler ends with a result.
func Return(result uint8) error {
	switch result {
	case ledger.Done:
		return nil
	case ledger.Panicked:
		panic(errHandler)
	case ledger.Given:
		return fanfare.Discard(errHandler)
	}
	return fmt.Errorf("attempt: %w", errHandler)
}

// dice are random numbers that follow from an event: splitmix64.
type dice uint64

func (l Load) dice(e ledger.Event, what int) *dice {
	d := dice(l.Seed)
	d = dice(d.next() ^ uint64(e))
	d = dice(d.next() ^ uint64(what))
	return &d
}

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// chance is true n times in a thousand.
func (d *dice) chance(n uint64) bool { return d.next()%1000 < n }

// wait is mostly nothing, often some milliseconds, and rarely longer than a
// lease.
func (l Load) wait(d *dice) time.Duration {
	n, part := int(d.next()%10_000), time.Duration(d.next()%1000)
	switch {
	case n < l.Long:
		return l.Lease*5/4 + part*l.Lease/1000
	case n < 50:
		return 100*time.Millisecond + part*400*time.Microsecond
	case n < 1000:
		return part * 20 * time.Microsecond
	}
	return 0
}
