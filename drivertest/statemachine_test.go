package drivertest_test

import (
	"crypto/rand"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/statemachine"
)

// bubbleClock is the clock of a bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Time          { return time.Now() }
func (bubbleClock) Advance(d time.Duration) { <-time.After(d) }

// inBubbles runs the machine on reference brokers, each in a bubble of its own.
var inBubbles = statemachine.Harness{
	New: func(testing.TB) statemachine.Backend {
		m := drivertest.NewMemory(drivertest.Window(statemachine.Window))
		return statemachine.Backend{Brokers: []driver.Broker{m}, Topic: rand.Text(), Clock: bubbleClock{}}
	},
	Around: func(t testing.TB, run func()) {
		synctest.Test(t.(*testing.T), func(*testing.T) { run() })
	},
}

func TestMemoryStateMachine(t *testing.T) { statemachine.Run(t, inBubbles) }

func FuzzMemoryStateMachine(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) { rapid.MakeFuzz(statemachine.Property(t, inBubbles))(t, b) })
}
