package drivertest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// trial is one subtest: a broker and a topic of its own, and the verbs of the
// broker in the form that tests use. They end the test where the broker fails.
type trial struct {
	*testing.T
	h     Harness
	b     driver.Broker
	caps  driver.Capabilities
	queue driver.Queue // DefaultGroup of a topic that no other trial uses
}

func newTrial(t *testing.T, h Harness, window time.Duration) *trial {
	b := h.New(t, window)
	h.Slack = max(h.Slack, 2*b.Capabilities().Delay)
	_, name, _ := strings.Cut(t.Name(), "/")
	topic := fmt.Sprintf("%.60s %s", name, rand.Text())
	return &trial{T: t, h: h, b: b, caps: b.Capabilities(), queue: driver.Queue{Topic: topic, Group: driver.DefaultGroup}}
}

// needs skips the test of what the broker does not have.
func (c *trial) needs(has bool, what string) {
	c.Helper()
	if !has {
		c.Skipf("not tested: the broker has no %s", what)
	}
}

// ability returns the broker as the ability A, or skips the test.
func ability[A any](c *trial) A {
	c.Helper()
	a, ok := c.b.(A)
	c.needs(ok, strings.TrimPrefix(fmt.Sprintf("%T", (*A)(nil)), "*driver."))
	return a
}

// in returns the trial with another topic.
func (c *trial) in(topic string) *trial {
	other := *c
	other.queue.Topic = topic
	return &other
}

// group returns the trial with another group of the same topic, subscribed.
func (c *trial) group(name string) *trial {
	c.Helper()
	other := *c
	other.queue.Group = name
	other.must(c.b.Subscribe(c.Context(), other.queue))
	return &other
}

// with returns the trial with another handle on the same state.
func (c *trial) with(b driver.Broker) *trial {
	other := *c
	other.b = b
	return &other
}

func (c *trial) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("unexpected error: %v", err)
	}
}

// wants fails the test unless err matches the sentinel.
func (c *trial) wants(sentinel, err error, what string) {
	c.Helper()
	if !errors.Is(err, sentinel) {
		c.Errorf("%s = %v, want %v", what, err, sentinel)
	}
}

// eventually polls until done reports true. It ends the test where that takes
// very long.
func (c *trial) eventually(what string, done func() bool) {
	c.Helper()
	deadline := time.NewTimer(20 * c.h.Slack)
	defer deadline.Stop()
	poll := time.NewTicker(3 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-deadline.C:
			c.Fatalf("%s: not within %v", what, 20*c.h.Slack)
		}
	}
}

// plain returns a message with a body that shows whose it is.
func plain(id string) driver.Message {
	return driver.Message{ID: id, Body: []byte("body of " + id)}
}

// push returns an outcome for each message.
func (c *trial) push(msgs ...driver.Message) []error {
	c.Helper()
	outcomes, err := c.b.Push(c.Context(), c.queue.Topic, msgs)
	if err != nil {
		c.Fatalf("Push to %q: %v", c.queue.Topic, err)
	}
	if len(outcomes) != len(msgs) {
		c.Fatalf("Push of %d messages returned %d outcomes", len(msgs), len(outcomes))
	}
	return outcomes
}

// accept pushes messages that must be accepted.
func (c *trial) accept(msgs ...driver.Message) {
	c.Helper()
	for i, err := range c.push(msgs...) {
		if err != nil {
			c.Fatalf("Push of %q = %v, want it accepted", msgs[i].ID, err)
		}
	}
}

// refuse pushes a message that must not be accepted, for the given reason.
func (c *trial) refuse(msg driver.Message, want error) {
	c.Helper()
	if err := c.push(msg)[0]; !errors.Is(err, want) {
		c.Fatalf("Push of %.80q = %v, want %v", msg.ID, err, want)
	}
}

// claim claims once. Zero fields of r mean many messages for a long lease.
func (c *trial) claim(r driver.ClaimRequest) driver.Claim {
	c.Helper()
	if r.Limit == 0 {
		r.Limit = 100
	}
	if r.Lease == 0 {
		r.Lease = long
	}
	if r.Consumer == "" {
		r.Consumer = "drivertest"
	}
	claim, err := c.b.Claim(c.Context(), c.queue, r)
	if err != nil {
		c.Fatalf("Claim of %q: %v", c.queue, err)
	}
	if n := len(claim.Deliveries); n > r.Limit {
		c.Errorf("Claim with limit %d returned %d messages", r.Limit, n)
	}
	for _, d := range claim.Deliveries {
		if d.Due.After(claim.Now) {
			c.Errorf("Claim at %v returned %q, which is due at %v", claim.Now, d.ID, d.Due)
		}
	}
	return claim
}

// take claims until it has n messages.
func (c *trial) take(n int) []driver.Delivery {
	c.Helper()
	return c.takeWith(n, driver.ClaimRequest{})
}

// takeWith claims with r, but for r.Limit, until it has n messages.
func (c *trial) takeWith(n int, r driver.ClaimRequest) []driver.Delivery {
	c.Helper()
	var got []driver.Delivery
	c.eventually(fmt.Sprintf("claim %d messages of %q", n, c.queue), func() bool {
		r.Limit = n - len(got)
		got = append(got, c.claim(r).Deliveries...)
		return len(got) >= n
	})
	return got
}

// one claims the message of the given id, which must be the next.
func (c *trial) one(id string) driver.Delivery {
	c.Helper()
	return c.oneFor(id, long)
}

// oneFor claims the message of the given id for a lease.
func (c *trial) oneFor(id string, lease time.Duration) driver.Delivery {
	c.Helper()
	d := c.takeWith(1, driver.ClaimRequest{Lease: lease})[0]
	if d.ID != id {
		c.Fatalf("claimed %q, want %q", d.ID, id)
	}
	return d
}

// body claims the message of the given id, which must have this body.
func (c *trial) body(id, want string) driver.Delivery {
	c.Helper()
	d := c.one(id)
	if string(d.Body) != want {
		c.Errorf("message %q has the body %.80q, want %.80q", id, d.Body, want)
	}
	return d
}

// nothing claims once and must get nothing.
func (c *trial) nothing() driver.Claim {
	c.Helper()
	claim := c.claim(driver.ClaimRequest{})
	for _, d := range claim.Deliveries {
		c.Errorf("claimed %q (attempt %d), want nothing", d.ID, d.Attempt)
	}
	return claim
}

// drained requires that the queue has no message that will ever be claimed.
func (c *trial) drained() {
	c.Helper()
	if claim := c.nothing(); claim.Next >= 0 {
		c.Errorf("Claim says that there is more in %v, want none ever", claim.Next)
	}
}

// nextWithin requires that the next message becomes claimable between two
// instants of the backend's clock, give or take its resolution.
func (c *trial) nextWithin(from, to time.Time) {
	c.Helper()
	claim := c.nothing()
	grain := 2 * max(c.caps.Delay, time.Millisecond)
	if claim.Next < 0 {
		c.Errorf("Claim knows of no next message, want one in %v", to.Sub(claim.Now))
		return
	}
	next := claim.Now.Add(claim.Next)
	if next.Before(from.Add(-grain)) || next.After(to.Add(grain)) {
		c.Errorf("next message in %v, want between %v and %v", claim.Next, from.Sub(claim.Now), to.Sub(claim.Now))
	}
}

// clock returns the time of the backend.
func (c *trial) clock() time.Time {
	c.Helper()
	return c.in("clock " + c.queue.Topic[len(c.queue.Topic)-26:]).nothing().Now
}

// until waits for an instant of the backend's clock.
func (c *trial) until(t time.Time) {
	c.Helper()
	c.eventually("passing of time", func() bool { return c.clock().After(t) })
}

// settle ends one claim and returns the outcome.
func (c *trial) settle(s driver.Settlement) error {
	c.Helper()
	return c.settleAll(s)[0]
}

// settleAll returns an outcome for each settlement.
func (c *trial) settleAll(s ...driver.Settlement) []error {
	c.Helper()
	outcomes, err := c.b.Settle(c.Context(), c.queue, s)
	if err != nil {
		c.Fatalf("Settle of %q: %v", c.queue, err)
	}
	if len(outcomes) != len(s) {
		c.Fatalf("Settle of %d claims returned %d outcomes", len(s), len(outcomes))
	}
	return outcomes
}

// end ends the claim of d by a verb. It must be valid.
func (c *trial) end(d driver.Delivery, v driver.Verb) {
	c.Helper()
	if err := c.settle(driver.Settlement{Receipt: d.Receipt, Verb: v}); err != nil {
		c.Fatalf("Settle of %q with verb %d = %v, want it settled", d.ID, v, err)
	}
}

// lost extends one claim and reports that it is lost.
func (c *trial) lost(d driver.Delivery) bool {
	c.Helper()
	return c.extend(long, d.Receipt)[0]
}

// extend reports for each claim whether it is lost.
func (c *trial) extend(lease time.Duration, held ...driver.Receipt) []bool {
	c.Helper()
	lost, err := c.b.Extend(c.Context(), c.queue, "drivertest", lease, held)
	if err != nil {
		c.Fatalf("Extend of %q: %v", c.queue, err)
	}
	if len(lost) != len(held) {
		c.Fatalf("Extend of %d claims returned %d answers", len(held), len(lost))
	}
	return lost
}

// counted requires the counters of a delivery.
func (c *trial) counted(d driver.Delivery, attempt, failures int) {
	c.Helper()
	if d.Attempt != attempt || d.Failures != failures {
		c.Errorf("message %q is at attempt %d with %d failures, want attempt %d with %d failures",
			d.ID, d.Attempt, d.Failures, attempt, failures)
	}
}
