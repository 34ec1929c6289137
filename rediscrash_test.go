package fanfare

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// crashCase is a queue with messages in every state, and a call that is to fail.
type crashCase struct {
	*redisCase
	flaky *flakyClient
	call  redisVerb
}

// crashCalls is how many calls newCrashCase knows.
func crashCalls(t *testing.T, url string) int {
	c := newCase(t, url)
	return len(c.settlements(c.furnish())) + len(verbs(c.redisBroker, c.q))
}

// newCrashCase furnishes a queue, and chooses one of the calls. The broker that
// makes the call knows nothing yet, as that of a process which has just started.
func newCrashCase(t *testing.T, url string, n int) *crashCase {
	t.Helper()
	c := newCase(t, url)
	held := c.furnish()
	flaky := &flakyClient{RedisClient: c.client, plan: at(0, faultless)}
	c.redisBroker = newRedisBroker(flaky, redisOptions{prefix: c.prefix})
	return &crashCase{c, flaky, append(c.settlements(held), verbs(c.redisBroker, c.q)...)[n]}
}

// living returns what waits or runs, dead ones apart, without times.
func (c *crashCase) living() string {
	c.Helper()
	var all []string
	for _, s := range []driver.State{driver.Waiting, driver.Running, driver.Dead} {
		records, err := c.List(c.Context(), c.q, s, 0, 100)
		if err != nil {
			c.Fatal(err)
		}
		for _, r := range records {
			kind := "lives"
			if s == driver.Dead {
				kind = "dead"
			}
			all = append(all, fmt.Sprintf("%s %s %q", r.ID, kind, r.Body))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// Whichever command of whichever call fails, before it is carried out or after:
// the caller learns the truth, nothing is torn, and to repeat the call leaves what
// one call leaves.
func TestRedisCrashPoints(t *testing.T) {
	url := testsvc.Redis(t).URL
	for n := range crashCalls(t, url) {
		clean := newCrashCase(t, url, n)
		first := clean.flaky.sent()
		if err := clean.call.do(t.Context()); err != nil && !errors.Is(err, driver.ErrDuplicate) {
			t.Fatalf("%s: %v", clean.call.name, err)
		}
		commands := clean.flaky.sent() - first
		want := clean.living()
		for number := 1; number <= commands; number++ {
			for _, fault := range []redisFault{unsent, answerless} {
				t.Run(fmt.Sprintf("%s/%s %d", clean.call.name, fault, number), func(t *testing.T) {
					c := newCrashCase(t, url, n)
					c.flaky.plan = at(c.flaky.sent()+number, fault)
					c.fails(fault)
					if got := c.living(); got != want {
						t.Errorf("after the call was repeated there are\n%s\nwant\n%s", got, want)
					}
				})
			}
		}
	}
}

// fails makes the call, which may fail for the fault, and repeats it then.
func (c *crashCase) fails(fault redisFault) {
	c.Helper()
	err := c.call.do(c.Context())
	c.flaky.plan = at(0, faultless)
	if err != nil && !errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, driver.ErrUnknownOutcome) {
		c.Errorf("error = %v, want one that says what became of it", err)
	}
	if fault == unsent && errors.Is(err, driver.ErrUnknownOutcome) {
		c.Errorf("error = %v, although nothing was sent", err)
	}
	c.whole("the fault")
	if err == nil {
		return
	}
	if err := c.call.do(c.Context()); err != nil {
		c.Errorf("repeated call = %v", err)
	}
	c.whole("the repeated call")
}

func (c *crashCase) whole(after string) {
	c.Helper()
	if err := auditRedis(c.client, c.keys()); err != nil {
		c.Errorf("after %s: %v", after, err)
	}
}
