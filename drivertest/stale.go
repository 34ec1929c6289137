package drivertest

import (
	"github.com/fanfare-go/fanfare/driver"
)

var stalePromises = []promise{
	{"a stale token cannot ack", func(c *trial) { staleSettle(c, driver.Ack) }},
	{"a stale token cannot retry", func(c *trial) { staleSettle(c, driver.Retry) }},
	{"a stale token cannot release", func(c *trial) { staleSettle(c, driver.Release) }},
	{"a stale token cannot bury", func(c *trial) { staleSettle(c, driver.Bury) }},
	{"a stale token cannot extend", staleExtend},
	{"a stale token changes nothing after the message was given back", staleAfterRetry},
	{"an invented token is refused", staleInvented},
	{"a token without its message changes nothing", staleForeign},
	{"a claim that was released has a token that is no longer valid", staleReleased},
}

// overtaken returns two claims of the message a: one that lost its lease to
// another, and that other.
func (c *trial) overtaken() (stale, valid driver.Delivery) {
	c.Helper()
	c.accept(plain("a"))
	stale = c.oneFor("a", moment/5)
	valid = c.one("a")
	return stale, valid
}

// untouched requires that the claim of d is valid and the message as it was.
func (c *trial) untouched(d driver.Delivery) {
	c.Helper()
	c.nothing()
	if c.lost(d) {
		c.Error("the valid claim is lost")
	}
	c.end(d, driver.Retry)
	again := c.body("a", "body of a")
	c.counted(again, d.Attempt+1, d.Failures+1)
	c.end(again, driver.Ack)
	c.drained()
}

func staleSettle(c *trial, v driver.Verb) {
	stale, valid := c.overtaken()
	for range 2 {
		err := c.settle(driver.Settlement{Receipt: stale.Receipt, Verb: v})
		c.wants(driver.ErrLeaseLost, err, "Settle with a stale token")
	}
	c.untouched(valid)
}

func staleExtend(c *trial) {
	stale, valid := c.overtaken()
	from := c.clock()
	if lost := c.extend(2*long, stale.Receipt); !lost[0] {
		c.Error("Extend with a stale token does not report it as lost")
	}
	c.nextWithin(from, c.clock().Add(long))
	c.untouched(valid)
}

// Whether such a claim is reported as lost or as settled is left open.
func staleAfterRetry(c *trial) {
	for _, v := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		t := c.in(c.queue.Topic + "." + string('0'+rune(v)))
		stale, valid := t.overtaken()
		t.end(valid, driver.Retry)
		t.settle(driver.Settlement{Receipt: stale.Receipt, Verb: v, Delay: 2 * long})
		if !t.lost(stale) {
			t.Error("Extend with a stale token does not report it as lost")
		}
		t.counted(t.body("a", "body of a"), 3, 1)
	}
}

func staleInvented(c *trial) {
	c.accept(plain("a"))
	d := c.one("a")
	for _, token := range []string{"", "0", "1", "invented", d.Token + "0", d.Token + " ", "0" + d.Token} {
		for _, v := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
			r := driver.Receipt{ID: "a", Token: token, Fence: d.Fence}
			if token == d.Token {
				continue
			}
			err := c.settle(driver.Settlement{Receipt: r, Verb: v})
			c.wants(driver.ErrLeaseLost, err, "Settle with an invented token")
		}
	}
	c.untouched(d)
}

// Nobody holds a message that waits, whatever is said.
func staleForeign(c *trial) {
	c.accept(plain("a"))
	held := c.one("a")
	c.accept(plain("b"))
	for _, v := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		for _, id := range []string{"b", "never pushed"} {
			for _, token := range []string{"", held.Token} {
				r := driver.Receipt{ID: id, Token: token}
				c.settle(driver.Settlement{Receipt: r, Verb: v, Delay: 2 * long})
			}
		}
	}
	c.counted(c.body("b", "body of b"), 1, 0)
	if c.lost(held) {
		c.Error("the valid claim is lost")
	}
}

func staleReleased(c *trial) {
	c.accept(plain("a"))
	first := c.one("a")
	c.end(first, driver.Release)
	second := c.one("a")
	if !c.lost(first) {
		c.Error("Extend of a released claim does not report it as lost")
	}
	c.settle(driver.Settlement{Receipt: first.Receipt, Verb: driver.Ack})
	c.untouched(second)
}
