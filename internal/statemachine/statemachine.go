// Package statemachine compares brokers with a model of the contract of package
// driver: it makes random calls, valid and stale, in random order, of several
// handles on the same state and at random times, and requires after each that the
// outcomes and all that is stored are what the model says.
//
// The flags of rapid say how long that goes on and how to repeat a failure:
//
//	go test -run StateMachine . -rapid.checks=10000 -rapid.steps=100
package statemachine

import (
	"flag"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fanfare-go/fanfare/driver"
)

// Window is the time for which the brokers are to remember ended ids.
const Window = 300 * time.Millisecond

// Harness makes what one test works on.
type Harness struct {
	// New returns a backend for one run. It ends with t, the test of all runs.
	New func(t testing.TB) Backend
	// Around, if not nil, calls each run, where runs need surroundings.
	Around func(t testing.TB, run func())
	// Budget is how long the test goes on at most, unless a flag of rapid says
	// otherwise. Zero is no limit.
	Budget time.Duration
}

// Backend is some handles on the same stored state.
type Backend struct {
	// Brokers have all abilities of package driver but Transactor, and the
	// window of this package.
	Brokers []driver.Broker
	// Topic is one that nobody else uses.
	Topic string
	// Clock is that of the brokers, where tests turn it. Nil is the time of this
	// machine: runs then take care that nothing falls due during a call.
	Clock Clock
	// Audit, if not nil, returns an error if what is stored of a queue, living
	// and dead, contradicts itself. It is called after each step.
	Audit func(q driver.Queue) error
}

// Clock is a clock that moves only when it is told to, in whole microseconds.
type Clock interface {
	Now() time.Time
	Advance(d time.Duration)
}

// Run compares the backends of h with the model.
func Run(t *testing.T, h Harness) {
	end := time.Now().Add(h.Budget)
	limited := h.Budget > 0
	flag.Visit(func(f *flag.Flag) { limited = limited && !strings.HasPrefix(f.Name, "rapid.") })
	failing := false // then rapid looks for a smaller failure, which takes its time
	property := Property(t, h)
	rapid.Check(t, func(rt *rapid.T) {
		if limited && !failing && time.Now().After(end) {
			return
		}
		defer func() { failing = failing || rt.Failed() }()
		property(rt)
	})
}

// Property returns one run, for rapid.MakeFuzz.
func Property(t testing.TB, h Harness) func(*rapid.T) {
	around := h.Around
	if around == nil {
		around = func(_ testing.TB, run func()) { run() }
	}
	return func(rt *rapid.T) {
		var ended any // a panic, which rapid wants to see in its own goroutine
		around(t, func() {
			defer func() { ended = recover() }()
			m := newMachine(rt, h.New(t))
			rt.Repeat(m.actions())
			m.drain()
		})
		switch ended := ended.(type) {
		case nil:
		case failure:
			rt.Fatal(string(ended))
		default:
			panic(ended) // rapid's way to end a run
		}
	}
}

// failure is what a machine panics with that fails.
type failure string
