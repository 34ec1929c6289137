package fanfare

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// newClockedCase returns a case whose scripts have a clock that the test turns.
func newClockedCase(t *testing.T) (*redisCase, *clockedClient) {
	t.Helper()
	prefix := "fanfare:" + rand.Text()
	clock := newClockedClient(t, dialTest(t, testsvc.Redis(t).URL), prefix)
	b := newRedisBroker(clock, redisOptions{prefix: prefix, window: time.Second})
	return &redisCase{b, t, driver.Queue{Topic: "topic", Group: driver.DefaultGroup}}, clock
}

// What falls due at an instant is due at that instant, and not a microsecond before.
func TestRedisAtTheInstant(t *testing.T) {
	accepts := func(how driver.Conflict) func(c *redisCase) bool {
		return func(c *redisCase) bool {
			return c.outcomes(driver.Message{ID: "a", Delay: time.Hour, Conflict: how})[0] == nil
		}
	}
	refuses := func(how driver.Conflict) func(c *redisCase) bool {
		return func(c *redisCase) bool { return !accepts(how)(c) }
	}
	claims := func(c *redisCase) bool { return len(c.claim(1)) == 1 }
	status := func(f func(driver.Status) bool) func(c *redisCase) bool {
		return func(c *redisCase) bool {
			s, err := c.Status(c.Context(), c.q.Topic)
			if err != nil {
				c.Fatal(err)
			}
			return f(s[0])
		}
	}
	state := func(want driver.State) func(c *redisCase) bool {
		return func(c *redisCase) bool {
			r, err := c.Get(c.Context(), c.q, "a")
			list, listErr := c.List(c.Context(), c.q, driver.Waiting, 0, 10)
			if err := errors.Join(err, listErr); err != nil || len(list) != 1 || list[0].State != r.State {
				c.Fatal(err, list, r)
			}
			return r.State == want
		}
	}
	yes := func(f func(c *redisCase) (bool, error)) func(c *redisCase) bool {
		return func(c *redisCase) bool {
			ok, err := f(c)
			if err != nil {
				c.Fatal(err)
			}
			return ok
		}
	}
	delayed := func(c *redisCase) { c.push(driver.Message{ID: "a", Delay: time.Second}) }
	claimed := func(c *redisCase) { c.push(message("a")); c.claimFor(1, time.Second) }
	for name, tt := range map[string]struct {
		begin func(c *redisCase) // something that changes after a second
		after func(c *redisCase) bool
	}{
		"claim what is delayed":       {delayed, claims},
		"count what is delayed":       {delayed, status(func(s driver.Status) bool { return s.Ready == 1 && s.Delayed == 0 })},
		"look at what is delayed":     {delayed, state(driver.Ready)},
		"claim after a lease":         {claimed, claims},
		"replace after a lease":       {claimed, accepts(driver.Replace)},
		"push back after a lease":     {claimed, accepts(driver.PushBack)},
		"run again after a lease":     {claimed, refuses(driver.RunAgain)},
		"cancel after a lease":        {claimed, yes(func(c *redisCase) (bool, error) { return c.Cancel(c.Context(), c.q.Topic, "a") })},
		"reschedule after a lease":    {claimed, yes(func(c *redisCase) (bool, error) { return c.Reschedule(c.Context(), c.q.Topic, "a", time.Time{}) })},
		"push after the window":       {func(c *redisCase) { c.push(message("a")); c.ack(c.claim(1)...) }, accepts(driver.KeepFirst)},
		"push after it was dead":      {func(c *redisCase) { c.push(message("a")); c.settleAs(driver.Bury, c.claim(1)...) }, accepts(driver.KeepFirst)},
		"push after at most once":     {func(c *redisCase) { c.push(message("a")); c.once() }, accepts(driver.KeepFirst)},
		"claim what had to wait":      {func(c *redisCase) { c.push(message("a")); c.retryAfter(time.Second) }, claims},
		"claim what was to run again": {func(c *redisCase) { c.push(message("a")); c.again(time.Second) }, claims},
	} {
		t.Run(name, func(t *testing.T) {
			for _, at := range []time.Duration{-time.Microsecond, 0} {
				c, clock := newClockedCase(t)
				tt.begin(c)
				clock.Advance(time.Second + at)
				if got := tt.after(c); got != (at == 0) {
					t.Errorf("%v from the instant: %t", at, got)
				}
			}
		})
	}
}

// once claims a message at most once.
func (c *redisCase) once() {
	c.Helper()
	claim, err := c.Claim(c.Context(), c.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute, AtMostOnce: true})
	if err != nil || len(claim.Deliveries) != 1 {
		c.Fatalf("Claim = %+v, %v", claim, err)
	}
}

// retryAfter claims a message and gives it back.
func (c *redisCase) retryAfter(d time.Duration) {
	c.Helper()
	s := driver.Settlement{Receipt: c.claim(1)[0].Receipt, Verb: driver.Retry, Delay: d}
	if _, err := c.Settle(c.Context(), c.q, []driver.Settlement{s}); err != nil {
		c.Fatal(err)
	}
}

// again acks a message while another is kept that is due later.
func (c *redisCase) again(d time.Duration) {
	c.Helper()
	held := c.claim(1)
	c.push(driver.Message{ID: held[0].ID, Delay: d, Conflict: driver.RunAgain})
	c.ack(held...)
}

// The text of a failure stays until there is another.
func TestRedisKeepsTheLatestError(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("a"))
	for i, tt := range []struct {
		verb       driver.Verb
		text, want string
	}{
		{driver.Retry, "", ""}, {driver.Retry, "first", "first"}, {driver.Retry, "", "first"},
		{driver.Release, "none", "first"}, {driver.Retry, "second", "second"}, {driver.Bury, "", "second"},
	} {
		s := driver.Settlement{Receipt: c.claim(1)[0].Receipt, Verb: tt.verb, Error: tt.text}
		if outcomes, err := c.Settle(t.Context(), c.q, []driver.Settlement{s}); err != nil || outcomes[0] != nil {
			t.Fatal(outcomes, err)
		}
		r, err := c.Get(t.Context(), c.q, "a")
		if err != nil || r.LastError != tt.want {
			t.Errorf("after settlement %d the last error is %q, %v, want %q", i, r.LastError, err, tt.want)
		}
	}
	c.push(message("b"))
	c.retryAfterError("only")
	s := driver.Settlement{Receipt: c.claim(1)[0].Receipt, Verb: driver.Bury}
	if _, err := c.Settle(t.Context(), c.q, []driver.Settlement{s}); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Get(t.Context(), c.q, "b"); err != nil || r.LastError != "only" {
		t.Errorf("after one failure and a burial the last error is %q, %v, want that of the failure", r.LastError, err)
	}
}

func (c *redisCase) retryAfterError(text string) {
	c.Helper()
	s := driver.Settlement{Receipt: c.claim(1)[0].Receipt, Verb: driver.Retry, Error: text}
	if _, err := c.Settle(c.Context(), c.q, []driver.Settlement{s}); err != nil {
		c.Fatal(err)
	}
}

// One claim may end many messages each of which another waits for.
func TestRedisAtMostOnceLetsAllSuccessorsWait(t *testing.T) {
	c, _ := newClockedCase(t)
	priorities := []driver.Priority{driver.High, driver.High, driver.Normal, driver.Normal, driver.Low, driver.Low}
	for i, p := range priorities {
		c.push(driver.Message{ID: string(rune('a' + i)), Priority: p})
	}
	held := c.claim(10)
	for i := range priorities {
		id := string(rune('a' + i))
		c.push(driver.Message{ID: id, Priority: priorities[i], Conflict: driver.RunAgain, Body: []byte("after " + id)})
	}
	c.settleAs(driver.Retry, held...)
	claim, err := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 10, Lease: time.Minute, AtMostOnce: true})
	if err != nil || len(claim.Deliveries) != len(priorities) || claim.Next != 0 {
		t.Fatalf("Claim = %+v, %v, want all, and more at once", claim, err)
	}
	if err := auditRedis(c.client, c.keys()); err != nil {
		t.Error(err)
	}
	again := c.claim(10)
	for _, d := range again {
		if string(d.Body) != "after "+d.ID || d.Attempt != 1 || d.Failures != 0 {
			t.Errorf("claimed %+v (%q), want what was to run after %q", d, d.Body, d.ID)
		}
	}
	if len(again) != len(priorities) {
		t.Errorf("claimed %d, want the %d that were to run again", len(again), len(priorities))
	}
}

// A claim that ends messages knows when the first of those is due that waited for it.
func TestRedisAtMostOnceKnowsWhatFollows(t *testing.T) {
	for _, delays := range [][2]time.Duration{{time.Hour, 2 * time.Hour}, {2 * time.Hour, time.Hour}} {
		c, _ := newClockedCase(t)
		c.push(message("a"), message("b"))
		held := c.claim(2)
		for i, d := range held {
			c.push(driver.Message{ID: d.ID, Delay: delays[i], Conflict: driver.RunAgain})
		}
		c.settleAs(driver.Release, held...)
		claim, err := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 2, Lease: time.Minute, AtMostOnce: true})
		if err != nil || claim.Next != time.Hour {
			t.Errorf("Claim says that there is more in %v, %v, want 1h", claim.Next, err)
		}
	}
}
