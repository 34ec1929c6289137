// Package behaviour holds the tests of what dispatchers promise, whatever keeps
// their events. It is no test file, so that the tests of backends in other
// modules run the same tests:
//
//	func TestBehaviour(t *testing.T) { behaviour.Run(t, behaviour.Local, redis) }
//
// The tests of processes that are killed need a TestMain that calls [RunChild].
package behaviour

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// Opener opens dispatchers of one kind.
type Opener struct {
	// Name is the last part of the names of its tests.
	Name string
	// Durable says that it opens a *fanfare.Durable.
	Durable bool
	// Start returns a backend with nothing in it, which ends with the test.
	Start func(t *testing.T) Backend
}

// Backend is where the dispatchers of one test keep their events.
type Backend struct {
	// Open opens a dispatcher on the backend; it may be called in a subtest of
	// the backend's test. A dispatcher is stopped before the clean-up that Open
	// and Start registered. Durable ones get only options that all of them take.
	Open func(t *testing.T, opts ...fanfare.Option) (fanfare.Dispatcher, error)
	// Env is the environment, as key=value, by which the function given to
	// RunChild finds the backend in another process. Only RunProcesses needs it.
	Env []string
}

// Local opens dispatchers in process, which share nothing.
var Local = Opener{Name: "local", Start: func(*testing.T) Backend {
	return Backend{Open: func(_ *testing.T, opts ...fanfare.Option) (fanfare.Dispatcher, error) {
		return fanfare.NewLocal(opts...)
	}}
}}

// Run runs the tests that hold for every dispatcher on each opener, and those
// that hold for every durable one on those that are. The tests of one name run
// in parallel.
func Run(t *testing.T, openers ...Opener) {
	for _, test := range general {
		test.on(t, openers)
	}
	var lasting []Opener
	for _, o := range openers {
		if o.Durable {
			lasting = append(lasting, o)
		}
	}
	if len(lasting) == 0 {
		return
	}
	for _, test := range durable {
		test.on(t, lasting)
	}
}

// test is a test and its name.
type test struct {
	name string
	run  func(t *testing.T, o opener)
}

// on runs the test on each opener.
func (test test) on(t *testing.T, openers []Opener) {
	t.Run(test.name, func(t *testing.T) {
		for _, o := range openers {
			t.Run(o.Name, func(t *testing.T) {
				t.Parallel()
				test.run(t, o.start(t))
			})
		}
	})
}

// general holds for every dispatcher. Here, as in the lists below, staticcheck
// finds a test that is missing: it is unused.
var general = []test{
	{"TestFailureIsTriedAgainWithBackoff", testFailureIsTriedAgainWithBackoff},
	{"TestHandlerChoosesTheRetryTime", testHandlerChoosesTheRetryTime},
	{"TestGivenUpEvents", testGivenUpEvents},
	{"TestEventsOwnLimitCountsMore", testEventsOwnLimitCountsMore},
	{"TestPanicsAndGoexitsCostNoSlot", testPanicsAndGoexitsCostNoSlot},
	{"TestErrorsThatPanicAreErrors", testErrorsThatPanicAreErrors},
	{"TestHandlerTimeout", testHandlerTimeout},
	{"TestConcurrencyIsBoundedAndUsed", testConcurrencyIsBoundedAndUsed},
	{"TestDelayedEventsAreOnTimeAndNeverEarly", testDelayedEventsAreOnTimeAndNeverEarly},
	{"TestDelayedEventInterface", testDelayedEventInterface},
	{"TestHigherPriorityFirstAndNoneStarved", testHigherPriorityFirstAndNoneStarved},
	{"TestFirstInFirstOutWithinOnePriority", testFirstInFirstOutWithinOnePriority},
	{"TestIDIsUniqueWhileItLives", testIDIsUniqueWhileItLives},
	{"TestCancelIsTruthful", testCancelIsTruthful},
	{"TestReschedule", testReschedule},
	{"TestConflicts", testConflicts},
	{"TestHandlersOfOneTopicRetryForThemselves", testHandlersOfOneTopicRetryForThemselves},
	{"TestCausationTravelsInHeaders", testCausationTravelsInHeaders},
	{"TestMiddlewareWrapsInOrder", testMiddlewareWrapsInOrder},
	{"TestWrongHandlerOptionsAreErrorsOfRegister", testWrongHandlerOptionsAreErrorsOfRegister},
	{"TestFanoutGivesAllTheSameEvent", testFanoutGivesAllTheSameEvent},
	{"TestRemoveEndsOneHandlerAndWaits", testRemoveEndsOneHandlerAndWaits},
	{"TestHandlerMayRemoveItself", testHandlerMayRemoveItself},
	{"TestPanicsOfCallbacksAreSurvived", testPanicsOfCallbacksAreSurvived},
	{"TestStopDrainsAndRefuses", testStopDrainsAndRefuses},
	{"TestStopWaitsForHandlersOfRemoved", testStopWaitsForHandlersOfRemoved},
	{"TestStopEndsWithItsContext", testStopEndsWithItsContext},
	{"TestDispatcherStopsWithItsContext", testDispatcherStopsWithItsContext},
	{"TestTypedEventArrivesIdentical", testTypedEventArrivesIdentical},
	{"TestPayloadsArriveIdentical", testPayloadsArriveIdentical},
	{"TestUntypedHandlerDecodes", testUntypedHandlerDecodes},
}

// durable holds for every durable dispatcher.
var durable = []test{
	{"TestAnyIsDecodedToo", testAnyIsDecodedToo},
	{"TestLogsOfUndecodableEventsShowNoPayload", testLogsOfUndecodableEventsShowNoPayload},
	{"TestErrorsShowNoPayload", testErrorsShowNoPayload},
	{"TestEventsWaitForAGroup", testEventsWaitForAGroup},
	{"TestEveryGroupGetsItsCopyAndSharesItsWork", testEveryGroupGetsItsCopyAndSharesItsWork},
	{"TestDispatchBatch", testDispatchBatch},
	{"TestTooLargeIsRefused", testTooLargeIsRefused},
	{"TestUnencodableIsRefused", testUnencodableIsRefused},
	{"TestHealth", testHealth},
	{"TestLookAtAndManageAQueue", testLookAtAndManageAQueue},
	{"TestPurgedRunningEventIsNotSettled", testPurgedRunningEventIsNotSettled},
	{"TestEventsAreTakenByHand", testEventsAreTakenByHand},
}

// opener opens the dispatchers of one test, on one backend.
type opener struct {
	Backend
	durable bool
}

func (o Opener) start(t *testing.T) opener {
	t.Helper()
	return opener{o.Start(t), o.Durable}
}

// open returns a dispatcher that is stopped with the test.
func (o opener) open(t *testing.T, opts ...fanfare.Option) fanfare.Dispatcher {
	t.Helper()
	d, err := o.Open(t, opts...)
	require.NoError(t, err)
	StopWith(t, d)
	return d
}

func (o opener) openDurable(t *testing.T, opts ...fanfare.Option) *fanfare.Durable {
	t.Helper()
	return o.open(t, opts...).(*fanfare.Durable)
}

// StopWith stops d at the end of the test. What a test leaves behind there is
// its own business.
func StopWith(t *testing.T, d fanfare.Dispatcher) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = d.Stop(ctx)
	})
}

func stats(d fanfare.Dispatcher) fanfare.Stats {
	return d.(interface{ Stats() fanfare.Stats }).Stats()
}
