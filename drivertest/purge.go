package drivertest

import (
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

var purgePromises = []promise{
	{"purge removes what waits and counts it", purgeWaiting},
	{"running messages do not come back after a purge", purgeRunning},
	{"claims are lost after a purge", purgeLost},
	{"dead letters stay", purgeDead},
	{"an id is free after a purge", purgeFree},
	{"purge of one group leaves the others alone", purgeGroups},
	{"purge of an empty queue removes nothing", purgeEmpty},
	{"purge removes many", purgeMany},
}

func (c *trial) purge(purger driver.Purger) int {
	c.Helper()
	n, err := purger.Purge(c.Context(), c.queue)
	c.must(err)
	return n
}

// purged requires the number that a purge removes.
func (c *trial) purged(purger driver.Purger, want int) {
	c.Helper()
	if n := c.purge(purger); n != want {
		c.Errorf("Purge = %d, want %d", n, want)
	}
	c.drained()
}

func purgeWaiting(c *trial) {
	purger := ability[driver.Purger](c)
	c.accept(plain("a"), plain("b"))
	want := 2
	if c.caps.Delay > 0 {
		c.accept(driver.Message{ID: "c", Delay: long})
		want++
	}
	c.purged(purger, want)
	c.ended()
	c.accept(plain("d"))
	c.one("d")
}

func purgeRunning(c *trial) {
	purger := ability[driver.Purger](c)
	c.accept(plain("a"), plain("b"))
	c.takeWith(2, driver.ClaimRequest{Lease: moment})
	c.accept(plain("c"))
	c.purge(purger)
	c.until(c.clock().Add(moment))
	c.drained()
	c.ended()
}

func purgeLost(c *trial) {
	purger := ability[driver.Purger](c)
	c.accept(plain("a"), plain("b"))
	ds := c.take(2)
	c.purged(purger, 2)
	for _, v := range []driver.Verb{driver.Retry, driver.Release, driver.Bury, driver.Ack} {
		err := c.settle(driver.Settlement{Receipt: ds[0].Receipt, Verb: v})
		c.wants(driver.ErrLeaseLost, err, "Settle after a purge")
	}
	if !c.lost(ds[1]) {
		c.Error("Extend after a purge does not report the claim as lost")
	}
	c.drained()
	c.ended()
}

func purgeDead(c *trial) {
	purger := ability[driver.Purger](c)
	c.accept(plain("a"), plain("b"))
	bury(c, "broken")
	c.purged(purger, 1)
	c.shows(0, 0, 0, 1)
}

func purgeFree(c *trial) {
	purger := ability[driver.Purger](c)
	c.accept(plain("a"), plain("b"))
	c.take(1)
	c.purged(purger, 2)
	c.accept(plain("a"), plain("b"))
	for _, d := range c.take(2) {
		c.counted(d, 1, 0)
	}
}

func purgeGroups(c *trial) {
	purger := ability[driver.Purger](c)
	one, two := c.groups()
	c.accept(plain("a"), plain("b"))
	d := two.take(1)[0]
	one.purged(purger, 2)
	two.take(1)
	two.end(d, driver.Ack)
}

func purgeEmpty(c *trial) {
	purger := ability[driver.Purger](c)
	c.purged(purger, 0)
	c.accept(plain("a"))
	c.purged(purger, 1)
	c.purged(purger, 0)
}

func purgeMany(c *trial) {
	purger := ability[driver.Purger](c)
	var msgs []driver.Message
	for i := range 2500 {
		msgs = append(msgs, plain(fmt.Sprint(i)))
	}
	for ; len(msgs) > 0; msgs = msgs[500:] {
		c.accept(msgs[:500]...)
	}
	c.take(600)
	c.purged(purger, 2500)
	c.ended()
}
