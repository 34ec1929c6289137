package fanfare

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Observation is what an [Observer] learns of an event. Fields that do not
// belong to what happened are zero. It never holds a payload or a header.
type Observation struct {
	Topic   string
	Group   string
	ID      string
	Attempt int
	// Lateness is how long after its due time the handler started, by the
	// clock of the dispatcher's backend.
	Lateness time.Duration
	// Duration is how long the dispatch or the handler took.
	Duration time.Duration
	// Wait is how long the event waits for its retry.
	Wait time.Duration
	// Reason is why an event is dead: ReasonExhausted and others.
	Reason string
	Err    error
}

// Observer is a set of functions that are called as things happen; any may be
// nil. They are called concurrently, by the goroutine to which it happens, and
// should return soon. A panic of theirs is logged.
type Observer struct {
	Dispatched func(Observation) // Err is nil if the event was accepted
	Started    func(Observation) // a handler starts
	Finished   func(Observation) // a handler returned; Err is what it returned
	Retried    func(Observation) // the event is going to be tried again
	Dead       func(Observation) // the event was given up
	Cancelled  func(Observation) // Cancel succeeded
	LeaseLost  func(Observation) // another process may handle the event at the same time

	logger *slog.Logger // set by the dispatcher
}

// Stats counts what a dispatcher did since it was made.
type Stats struct {
	Dispatched uint64 // events accepted
	Duplicates uint64 // refused with ErrDuplicate
	Rejected   uint64 // refused or failed otherwise
	Started    uint64 // handlers started
	Handled    uint64 // handlers that returned nil
	Retried    uint64 // failures that are tried again
	Dead       uint64 // events given up after failures
	Cancelled  uint64
	LeaseLost  uint64
	Dropped    uint64 // in process: not handled because of Stop
	Queued     int    // in process: accepted and not finished at this moment
	Running    int    // handlers running at this moment
}

// counters are the live numbers behind Stats.
type counters struct {
	dispatched, duplicates, rejected   atomic.Uint64
	started, handled, retried, dead    atomic.Uint64
	cancelled, leaseLost, droppedCount atomic.Uint64
	running                            atomic.Int64
}

func (c *counters) stats() Stats {
	return Stats{
		Dispatched: c.dispatched.Load(),
		Duplicates: c.duplicates.Load(),
		Rejected:   c.rejected.Load(),
		Started:    c.started.Load(),
		Handled:    c.handled.Load(),
		Retried:    c.retried.Load(),
		Dead:       c.dead.Load(),
		Cancelled:  c.cancelled.Load(),
		LeaseLost:  c.leaseLost.Load(),
		Dropped:    c.droppedCount.Load(),
		Running:    int(c.running.Load()),
	}
}

// count counts the outcome of a dispatch.
func (c *counters) count(status OutcomeStatus) {
	switch status {
	case Accepted:
		c.dispatched.Add(1)
	case Duplicate:
		c.duplicates.Add(1)
	default:
		c.rejected.Add(1)
	}
}

// The methods of Observer that the dispatchers call; o may be nil.

func (o *Observer) dispatched(v Observation) {
	if o != nil {
		o.tell(o.Dispatched, v)
	}
}

func (o *Observer) started(v Observation) {
	if o != nil {
		o.tell(o.Started, v)
	}
}

func (o *Observer) finished(v Observation) {
	if o != nil {
		o.tell(o.Finished, v)
	}
}

func (o *Observer) retried(v Observation) {
	if o != nil {
		o.tell(o.Retried, v)
	}
}

func (o *Observer) dead(v Observation) {
	if o != nil {
		o.tell(o.Dead, v)
	}
}

func (o *Observer) cancelled(v Observation) {
	if o != nil {
		o.tell(o.Cancelled, v)
	}
}

func (o *Observer) leaseLost(v Observation) {
	if o != nil {
		o.tell(o.LeaseLost, v)
	}
}

// tell calls f, whose panic must not end a goroutine of the dispatcher.
func (o *Observer) tell(f func(Observation), v Observation) {
	if f == nil {
		return
	}
	defer logPanic(o.logger, "observer")
	f(v)
}

// logPanic is deferred around functions of the user that have no error to return.
func logPanic(l *slog.Logger, whose string) {
	if v := recover(); v != nil {
		l.Error("fanfare: panic", "in", whose, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
	}
}

// Dropped is an event that was given up in process. See [WithOnDrop].
type Dropped struct {
	Topic  string
	Group  string // of the handler that failed; empty if none has run
	ID     string
	Event  any // as it was dispatched
	DueAt  time.Time
	Reason string // ReasonStopped, ReasonExhausted, ReasonDiscarded or ReasonUndecodable
	Err    error  // of the last attempt
}

// Capabilities says what a dispatcher can do. What it cannot is refused with
// ErrUnsupported when it is asked for.
type Capabilities struct {
	Durable     bool          // accepted events survive this process
	Delay       time.Duration // the resolution of delays; 0: none are possible
	UniqueID    bool          // ErrDuplicate for an id that is known
	Conflict    bool          // Replace, PushBack and RunAgain
	Priority    bool
	Groups      bool // each group of a topic gets its own copy of each event
	AtMostOnce  bool
	Synchronous bool
	Cancel      bool // Cancel and Reschedule
	Inspect     bool // Get, Peek, Status, Health
	DeadLetters bool
	Purge       bool
	Pause       bool
	Tx          bool // InTx and DispatchTx
	Durability  bool // Durability and RequireDurability
	MaxPayload  int  // in bytes; 0: no limit
}
