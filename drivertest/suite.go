package drivertest

import (
	"sync"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Harness makes the brokers that the suite tests.
type Harness struct {
	// New returns a broker that keeps nothing yet; what it opened is closed
	// with t.Cleanup. window is the time for which completed ids stay known.
	// Brokers may share their stored state: each test has topics of its own.
	New func(t testing.TB, window time.Duration) driver.Broker

	// Reopen returns a second, independent handle on the same stored state, as
	// another process has it. Without it, what is promised across processes is
	// not tested.
	Reopen func(t testing.TB, b driver.Broker) driver.Broker

	// Slack is how late a wake-up or a claim may be on this backend. The
	// default is 250 ms, or twice the resolution of delays if that is more. A
	// test gives up on what never comes after 20 times that.
	Slack time.Duration
}

// A promise is a sentence that package driver says, and the test of it. The
// sentence names the subtest.
type promise struct {
	says string
	test func(c *trial)
}

// A chapter holds the promises about one subject.
type chapter struct {
	name     string
	window   time.Duration
	promises []promise
}

const (
	// long is a lease, a delay or a window that ends after the test.
	long = time.Hour
	// brief is a window that a test waits for.
	brief = 200 * time.Millisecond
	// moment is a lease or a delay that a test waits for.
	moment = 100 * time.Millisecond
	// atOnce is how many subtests run at a time. Most of them wait most of the
	// time, so it does not depend on the cores, as -parallel does.
	atOnce = 8
)

var chapters = []chapter{
	{"push", long, pushPromises},
	{"unique", long, uniquePromises},
	{"window", brief, windowPromises},
	{"delay", long, delayPromises},
	{"claim", long, claimPromises},
	{"lease", long, leasePromises},
	{"stale", long, stalePromises},
	{"settle", long, settlePromises},
	{"group", long, groupPromises},
	{"priority", long, priorityPromises},
	{"conflict", long, conflictPromises},
	{"again", long, againPromises},
	{"cancel", long, cancelPromises},
	{"inspect", long, inspectPromises},
	{"list", long, listPromises},
	{"status", long, statusPromises},
	{"dead", long, deadPromises},
	{"purge", long, purgePromises},
	{"pause", long, pausePromises},
	{"wait", long, waitPromises},
	{"bytes", long, bytesPromises},
	{"name", long, namePromises},
	{"context", long, contextPromises},
	{"reopen", long, reopenPromises},
	{"race", long, racePromises},
	{"model", long, modelPromises},
}

// Run tests that the brokers of h keep the promises of package driver. Each is
// a subtest, named chapter/promise; one that needs an ability the broker lacks
// is skipped and says so. Run returns when all have ended.
func Run(t *testing.T, h Harness) {
	if h.Slack <= 0 {
		h.Slack = 250 * time.Millisecond
	}
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, atOnce)
	for _, ch := range chapters {
		for _, p := range ch.promises {
			places <- struct{}{}
			running.Go(func() {
				defer func() { <-places }()
				t.Run(ch.name+"/"+p.says, func(t *testing.T) { p.test(newTrial(t, h, ch.window)) })
			})
		}
	}
}
