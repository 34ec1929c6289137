package drivertest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var claimPromises = []promise{
	{"an empty queue gives nothing and knows of nothing next", claimEmpty},
	{"claim does not wait", claimAtOnce},
	{"at most limit messages are claimed", claimLimit},
	{"a limit below one claims nothing", claimNoLimit},
	{"a claimed message is hidden from others", claimHidden},
	{"messages are claimed in the order in which they came", claimFIFO},
	{"next is zero while more is due", claimNextNow},
	{"next is when the next message is due", claimNextDue},
	{"next is when the next lease ends", claimNextLease},
	{"next is the earlier of due time and end of lease", claimNextEarlier},
	{"next is negative when nothing is left", claimNextNever},
	{"any two claims of a message differ in token and the fence grows", claimFence},
	{"at most once leaves nothing running", claimAtMostOnce},
	{"at most once is refused where it is not honoured", claimAtMostOnceUnsupported},
}

func claimEmpty(c *trial) { c.drained() }

func claimAtOnce(c *trial) {
	c.took(0, c.drained)
	if c.caps.Delay > 0 {
		c.accept(driver.Message{ID: "a", Delay: long})
	}
	c.took(0, func() { c.nothing() })
}

func claimLimit(c *trial) {
	for i := range 10 {
		c.accept(plain(fmt.Sprint(i)))
	}
	seen := map[string]bool{}
	c.eventually("claim of all", func() bool {
		for _, d := range c.claim(driver.ClaimRequest{Limit: 3}).Deliveries {
			if seen[d.ID] {
				c.Errorf("claimed %q twice", d.ID)
			}
			seen[d.ID] = true
		}
		return len(seen) == 10
	})
	c.nothing()
}

func claimNoLimit(c *trial) {
	c.accept(plain("a"))
	for _, limit := range []int{0, -1} {
		claim, err := c.b.Claim(c.Context(), c.queue, driver.ClaimRequest{Limit: limit, Lease: long})
		if err != nil && !errors.Is(err, driver.ErrInvalid) || len(claim.Deliveries) > 0 {
			c.Errorf("Claim with limit %d = %v, %v, want nothing or ErrInvalid", limit, claim.Deliveries, err)
		}
	}
	c.one("a")
}

func claimHidden(c *trial) {
	c.accept(plain("a"))
	c.one("a")
	c.nothing()
	if claim := c.claim(driver.ClaimRequest{Consumer: "another"}); len(claim.Deliveries) > 0 {
		c.Errorf("another consumer claimed %v, want nothing", ids(claim.Deliveries))
	}
}

// Messages that became due at one instant of the backend's clock have no order.
func claimFIFO(c *trial) {
	for i := range 30 {
		c.accept(plain(fmt.Sprintf("%02d", i)))
	}
	c.until(c.clock().Add(c.caps.Delay))
	got := c.take(10)
	for range 10 {
		got = append(got, c.take(1)...)
	}
	got = append(got, c.take(10)...)
	for i, d := range got[1:] {
		last := got[i]
		if d.Due.Before(last.Due) || d.Due.After(last.Due) && strings.Compare(d.ID, last.ID) < 0 {
			c.Errorf("claimed %v, want the order of the pushes", ids(got))
			return
		}
	}
}

func claimNextNow(c *trial) {
	c.accept(plain("a"), plain("b"), plain("c"))
	c.until(c.clock().Add(c.caps.Delay))
	c.eventually("claim of one", func() bool {
		claim := c.claim(driver.ClaimRequest{Limit: 1})
		if claim.Next != 0 {
			c.Errorf("Next = %v with more due, want 0", claim.Next)
		}
		return len(claim.Deliveries) == 1
	})
}

func claimNextDue(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	from := c.clock()
	c.accept(driver.Message{ID: "a", Delay: long}, driver.Message{ID: "b", Delay: 2 * long})
	c.nextWithin(from.Add(long), c.clock().Add(long))
}

func claimNextLease(c *trial) {
	c.accept(plain("a"))
	from := c.clock()
	d := c.one("a")
	c.nextWithin(from.Add(long), c.clock().Add(long))
	from = c.clock()
	c.extend(2*long, d.Receipt)
	c.nextWithin(from.Add(2*long), c.clock().Add(2*long))
}

func claimNextEarlier(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(plain("a"))
	from := c.clock()
	c.one("a")
	c.accept(driver.Message{ID: "b", Delay: 2 * long})
	c.nextWithin(from.Add(long), c.clock().Add(long))
	from = c.clock()
	c.accept(driver.Message{ID: "c", Delay: long / 2})
	c.nextWithin(from.Add(long/2), c.clock().Add(long/2))
}

func claimNextNever(c *trial) {
	c.accept(plain("a"), plain("b"))
	for _, d := range c.take(2) {
		c.end(d, driver.Ack)
	}
	c.drained()
}

func claimFence(c *trial) {
	c.accept(plain("a"))
	tokens, fence := map[string]bool{}, int64(-1)
	for i := range 12 {
		d := c.oneFor("a", moment/10)
		if tokens[d.Token] {
			c.Errorf("claim %d has a token that an earlier one had", i)
		}
		if i > 0 && d.Fence <= fence {
			c.Errorf("claim %d has the fence %d after %d, want a greater one", i, d.Fence, fence)
		}
		tokens[d.Token], fence = true, d.Fence
		switch i % 3 {
		case 0:
			c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Retry})
		case 1:
			c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Release})
		}
	}
}

func claimAtMostOnce(c *trial) {
	c.needs(c.caps.AtMostOnce, "claims for at most once")
	c.accept(plain("a"), plain("b"))
	for _, d := range c.takeWith(2, driver.ClaimRequest{AtMostOnce: true, Lease: moment / 10}) {
		c.counted(d, 1, 0)
		if string(d.Body) != "body of "+d.ID {
			c.Errorf("message %q has the body %q", d.ID, d.Body)
		}
	}
	c.drained()
	c.until(c.clock().Add(moment / 5))
	c.drained()
	if c.caps.UniqueID {
		c.refuse(plain("a"), driver.ErrDuplicate)
	}
	c.ended()
}

func claimAtMostOnceUnsupported(c *trial) {
	if c.caps.AtMostOnce {
		return
	}
	c.accept(plain("a"))
	r := driver.ClaimRequest{Limit: 1, Lease: time.Minute, AtMostOnce: true}
	_, err := c.b.Claim(c.Context(), c.queue, r)
	c.wants(driver.ErrUnsupported, err, "Claim for at most once")
	c.one("a")
}
