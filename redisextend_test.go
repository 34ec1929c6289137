package fanfare

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// givenBackFrom returns a claim of a message that waits again in its lane, since
// its lease ran out.
func (c *redisCase) givenBackFrom(clock *clockedClient, p driver.Priority) driver.Delivery {
	c.Helper()
	c.push(driver.Message{ID: "other", Priority: p})
	clock.Advance(time.Second)
	c.push(driver.Message{ID: "a", Priority: p})
	held := c.claimFor(2, time.Second).Deliveries
	clock.Advance(time.Second)
	c.ack(c.claim(1)...)
	if len(held) != 2 || held[1].ID != "a" {
		c.Fatalf("claimed %v, want other and a", ids(held))
	}
	return held[1]
}

// A message that was given back is in one place, whatever its late holder does.
func TestRedisLateHoldersOfEachPriority(t *testing.T) {
	for lane, p := range []driver.Priority{driver.High, driver.Normal, driver.Low} {
		acts := map[string]func(c *redisCase, d driver.Delivery) error{
			"extend": func(c *redisCase, d driver.Delivery) error {
				lost, err := c.Extend(c.Context(), c.q, d.ID, time.Minute, []driver.Receipt{d.Receipt})
				if err == nil && lost[0] {
					err = driver.ErrLeaseLost
				}
				if err == nil && c.do("ZSCORE", c.keys().consumers, d.ID) == nil {
					c.Error("a consumer that has the name of the message is not noted")
				}
				return err
			},
		}
		for _, v := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
			acts[fmt.Sprint("verb ", v)] = func(c *redisCase, d driver.Delivery) error { return c.settled(d, v) }
		}
		for name, act := range acts {
			t.Run(fmt.Sprint(name, " priority ", p), func(t *testing.T) {
				c, clock := newClockedCase(t)
				if err := act(c, c.givenBackFrom(clock, p)); err != nil {
					t.Error(err)
				}
				if err := auditRedis(c.client, c.keys()); err != nil {
					t.Error(err)
				}
				c, clock = newClockedCase(t)
				late := c.givenBackFrom(clock, p)
				c.do("SET", c.keys().lanes[2-lane], "foreign") // which may be that lane itself
				if 2-lane == lane {
					return
				}
				before := c.dump()
				if err := act(c, late); !errors.As(err, new(RedisError)) || c.dump() != before {
					t.Errorf("%v, want a refusal, with nothing changed", err)
				}
			})
		}
	}
}

func (c *redisCase) settled(d driver.Delivery, v driver.Verb) error {
	outcomes, err := c.Settle(c.Context(), c.q, []driver.Settlement{{Receipt: d.Receipt, Verb: v}})
	return errors.Join(append(outcomes, err)...)
}

// Who claims or extends counts for a time, and is forgotten after it.
func TestRedisForgetsConsumers(t *testing.T) {
	c, clock := newClockedCase(t)
	consumers := func() []string {
		r := newRedisReply(c.do("ZRANGE", c.keys().consumers, 0, -1))
		var names []string
		for r.more() {
			names = append(names, r.text())
		}
		return names
	}
	claim := func(name string, once bool) {
		t.Helper()
		r := driver.ClaimRequest{Limit: 1, Lease: time.Second, Consumer: name, AtMostOnce: once}
		if _, err := c.Claim(t.Context(), c.q, r); err != nil {
			t.Fatal(err)
		}
	}
	extend := func(name string) {
		t.Helper()
		if _, err := c.Extend(t.Context(), c.q, name, time.Second, []driver.Receipt{{ID: "a", Token: "b"}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		do   func()
		want []string
	}{
		{func() { claim("", false); extend("") }, nil},
		{func() { claim("a", false) }, []string{"a"}},
		{func() { extend("b") }, []string{"a", "b"}},
		{func() { clock.Advance(redisCounts); extend("c") }, []string{"c"}},
		{func() { clock.Advance(redisCounts); claim("d", false) }, []string{"d"}},
		{func() { clock.Advance(redisCounts - time.Microsecond); claim("e", true) }, []string{"d", "e"}},
		{func() { clock.Advance(redisCounts); claim("f", true) }, []string{"f"}},
	} {
		step.do()
		if got := consumers(); !slices.Equal(got, step.want) {
			t.Errorf("step %d: consumers %q, want %q", i, got, step.want)
		}
	}
}

// The ids of what ended are kept for the window, and not much longer.
func TestRedisForgetsEndedIDsAfterTheWindow(t *testing.T) {
	for name, end := range map[string]func(c *redisCase){
		"ack":                 func(c *redisCase) { c.ack(c.claim(10)...) },
		"bury":                func(c *redisCase) { c.settleAs(driver.Bury, c.claim(10)...) },
		"at most once":        func(c *redisCase) { c.endAll() },
		"claim by a consumer": func(c *redisCase) { c.claim(10) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, old := range [][]driver.Message{{message("a")}, {message("a"), message("b")}} {
				c, clock := newClockedCase(t)
				c.push(old...)
				c.endAll()
				clock.Advance(time.Second - time.Microsecond)
				c.push(message("c"))
				if n := c.do("ZCARD", c.keys().known); n != int64(len(old)) {
					t.Errorf("%d ids are known within the window, want %d", n, len(old))
				}
				clock.Advance(time.Microsecond)
				c.redisBroker = newRedisBroker(c.client, redisOptions{prefix: c.prefix, window: time.Second}) // which notes its consumer
				end(c)
				for r := newRedisReply(c.do("ZRANGE", c.keys().known, 0, -1)); r.more(); {
					if id := r.text(); id != "c" {
						t.Errorf("%q is known after its window", id)
					}
				}
			}
		})
	}
}

// endAll claims all messages at most once.
func (c *redisCase) endAll() {
	c.Helper()
	_, err := c.Claim(c.Context(), c.q, driver.ClaimRequest{Limit: 10, Lease: time.Minute, AtMostOnce: true})
	if err != nil {
		c.Fatal(err)
	}
}
