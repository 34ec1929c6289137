package fanfare

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// redisCase is a broker with a queue of its own, and its verbs in the form that
// tests use. They end the test where the broker fails.
type redisCase struct {
	*redisBroker
	*testing.T
	q driver.Queue
}

func newCase(t *testing.T, address string) *redisCase {
	t.Helper()
	b := newRedisBroker(dialTest(t, address), redisOptions{prefix: "fanfare:" + rand.Text()})
	return &redisCase{b, t, driver.Queue{Topic: "topic", Group: driver.DefaultGroup}}
}

// do runs a command as an operator would.
func (c *redisCase) do(args ...any) any {
	c.Helper()
	reply, err := c.client.Do(c.Context(), args...)
	if err != nil {
		c.Fatalf("%v: %v", args, err)
	}
	return reply
}

func (c *redisCase) keys() *redisKeys { return c.queue(c.q).keys }

func message(id string) driver.Message {
	return driver.Message{ID: id, Body: []byte("body of " + id)}
}

// push pushes messages that must be accepted.
func (c *redisCase) push(msgs ...driver.Message) {
	c.Helper()
	for i, err := range c.outcomes(msgs...) {
		if err != nil {
			c.Fatalf("Push of %q = %v, want it accepted", msgs[i].ID, err)
		}
	}
}

func (c *redisCase) outcomes(msgs ...driver.Message) []error {
	c.Helper()
	outcomes, err := c.Push(c.Context(), c.q.Topic, msgs)
	if err != nil {
		c.Fatalf("Push: %v", err)
	}
	return outcomes
}

// claim claims once, for a minute.
func (c *redisCase) claim(limit int) []driver.Delivery {
	c.Helper()
	return c.claimFor(limit, time.Minute).Deliveries
}

func (c *redisCase) claimFor(limit int, lease time.Duration) driver.Claim {
	c.Helper()
	claim, err := c.Claim(c.Context(), c.q, driver.ClaimRequest{Limit: limit, Lease: lease, Consumer: "test"})
	if err != nil {
		c.Fatalf("Claim: %v", err)
	}
	return claim
}

func (c *redisCase) ack(ds ...driver.Delivery) {
	c.Helper()
	c.settleAs(driver.Ack, ds...)
}

// settleAs settles claims that must be valid.
func (c *redisCase) settleAs(v driver.Verb, ds ...driver.Delivery) {
	c.Helper()
	var s []driver.Settlement
	for _, d := range ds {
		s = append(s, driver.Settlement{Receipt: d.Receipt, Verb: v, Error: "text"})
	}
	outcomes, err := c.Settle(c.Context(), c.q, s)
	if err := errors.Join(append(outcomes, err)...); err != nil {
		c.Fatalf("Settle: %v", err)
	}
}

func ids(ds []driver.Delivery) []string {
	var list []string
	for _, d := range ds {
		list = append(list, d.ID)
	}
	return list
}

// stored returns the keys of the broker, sorted, without its prefix.
func (c *redisCase) stored() []string {
	c.Helper()
	r := newRedisReply(c.do("KEYS", c.prefix+":*"))
	var keys []string
	for r.more() {
		keys = append(keys, strings.TrimPrefix(r.text(), c.prefix+":"))
	}
	slices.Sort(keys)
	return keys
}

// redisVerb is one call of a method of a broker.
type redisVerb struct {
	name string
	do   func(ctx context.Context) error
}

// verbs returns a call of every method. The claim that they are about is not
// valid; those that remove most come last.
func verbs(b *redisBroker, q driver.Queue) []redisVerb {
	held := driver.Receipt{ID: "a", Token: "1:ab:1:0:1:5"}
	r := driver.ClaimRequest{Limit: 1, Lease: time.Minute, Consumer: "c"}
	once := driver.ClaimRequest{Limit: 1, Lease: time.Minute, AtMostOnce: true}
	push := func(id string, c driver.Conflict) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := b.Push(ctx, q.Topic, []driver.Message{{ID: id, Conflict: c}})
			return err
		}
	}
	return []redisVerb{
		{"Push", push("a", driver.KeepFirst)},
		{"Push replace", push("a", driver.Replace)},
		{"Push back", push("a", driver.PushBack)},
		{"Push again", push("held0", driver.RunAgain)},
		{"Claim", func(ctx context.Context) error { _, err := b.Claim(ctx, q, r); return err }},
		{"Claim once", func(ctx context.Context) error { _, err := b.Claim(ctx, q, once); return err }},
		{"Extend", func(ctx context.Context) error {
			_, err := b.Extend(ctx, q, "e", time.Minute, []driver.Receipt{held})
			return err
		}},
		{"Settle", func(ctx context.Context) error {
			_, err := b.Settle(ctx, q, []driver.Settlement{{Receipt: held}})
			return err
		}},
		{"Reschedule", func(ctx context.Context) error {
			_, err := b.Reschedule(ctx, q.Topic, "later1", time.Now())
			return err
		}},
		{"Cancel", func(ctx context.Context) error { _, err := b.Cancel(ctx, q.Topic, "a"); return err }},
		{"Get", func(ctx context.Context) error { _, err := b.Get(ctx, q, "ready1"); return err }},
		{"List", func(ctx context.Context) error { _, err := b.List(ctx, q, driver.Waiting, 0, 10); return err }},
		{"Status", func(ctx context.Context) error { _, err := b.Status(ctx); return err }},
		{"Requeue", func(ctx context.Context) error { _, err := b.Requeue(ctx, q, "ready0"); return err }},
		{"DeleteDead", func(ctx context.Context) error { _, err := b.DeleteDead(ctx, q, "ready0"); return err }},
		{"Wait", func(ctx context.Context) error { return b.Wait(ctx, q, time.Millisecond) }},
		{"Subscribe", func(ctx context.Context) error { return b.Subscribe(ctx, q) }},
		{"Pause", func(ctx context.Context) error { return b.Pause(ctx, q) }},
		{"Resume", func(ctx context.Context) error { return b.Resume(ctx, q) }},
		{"Purge", func(ctx context.Context) error { _, err := b.Purge(ctx, q); return err }},
		{"Unsubscribe", func(ctx context.Context) error { return b.Unsubscribe(ctx, q) }},
	}
}

// furnish brings messages into every state, and returns settlements of the claims.
func (c *redisCase) furnish() []driver.Settlement {
	c.Helper()
	for i, p := range []driver.Priority{driver.High, driver.Normal, driver.Low} {
		c.push(driver.Message{ID: fmt.Sprint("ready", i), Priority: p})
		c.push(driver.Message{ID: fmt.Sprint("later", i), Priority: p, Delay: time.Hour})
	}
	ds := c.claim(3)
	c.settleAs(driver.Bury, ds[0])
	var held []driver.Settlement
	for i, v := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		id := fmt.Sprint("held", i)
		c.push(message(id))
		held = append(held, driver.Settlement{Receipt: c.claim(1)[0].Receipt, Verb: v, Error: "text"})
		c.push(driver.Message{ID: id, Conflict: driver.RunAgain})
	}
	c.push(message("expired"))
	c.claimFor(1, time.Microsecond)
	return held
}

// settlements returns a call for each settlement.
func (c *redisCase) settlements(held []driver.Settlement) []redisVerb {
	var calls []redisVerb
	for _, s := range held {
		calls = append(calls, redisVerb{fmt.Sprint("Settle with verb ", s.Verb), func(ctx context.Context) error {
			_, err := c.Settle(ctx, c.q, []driver.Settlement{s})
			return err
		}})
	}
	return append(calls, redisVerb{"Extend held", func(ctx context.Context) error {
		_, err := c.Extend(ctx, c.q, "", time.Minute, []driver.Receipt{held[0].Receipt})
		return err
	}})
}

// dump returns all that is stored.
func (c *redisCase) dump() string {
	c.Helper()
	var b strings.Builder
	for _, key := range c.stored() {
		fmt.Fprintf(&b, "%s %x\n", key, c.do("DUMP", c.prefix+":"+key))
	}
	return b.String()
}

// consistent requires that each message that has a body is in one place, as far
// as the keys have their type.
func (c *redisCase) consistent(after string) {
	c.Helper()
	k := c.keys()
	places, foreign := map[string]int{}, 0
	for _, key := range append(k.lanes[:], k.leases) {
		reply, err := c.client.Do(c.Context(), "ZRANGE", key, 0, -1)
		if err != nil {
			foreign++
			continue
		}
		for r := newRedisReply(reply); r.more(); {
			places[r.text()]++
		}
	}
	reply, err := c.client.Do(c.Context(), "HKEYS", k.bodies)
	if err != nil {
		return
	}
	for r := newRedisReply(reply); r.more(); {
		if id := r.text(); places[id] > 1 || places[id] == 0 && foreign == 0 {
			c.Errorf("after %s message %q is in %d places, want 1", after, id, places[id])
		}
	}
}
