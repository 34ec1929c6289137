package drivertest

import (
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var reopenPromises = []promise{
	{"what one process pushed another claims", reopenPushed},
	{"what one process claimed is hidden from another", reopenHidden},
	{"what a process left another gets when the lease ended", reopenLeft},
	{"a claim may be settled by another process", reopenSettled},
	{"an id that one process pushed is a duplicate for another", reopenUnique},
	{"a group that one process subscribed another pushes to", reopenGroups},
	{"a pause holds in all processes", reopenPaused},
	{"a push of one process wakes another", reopenWakes},
	{"processes take turns without getting the same message", reopenShared},
}

// another returns the trial as another process sees it.
func (c *trial) another() *trial {
	c.Helper()
	c.needs(c.h.Reopen != nil, "way to be opened again")
	return c.with(c.h.Reopen(c, c.b))
}

func reopenPushed(c *trial) {
	other := c.another()
	c.accept(plain("a"))
	d := other.body("a", "body of a")
	other.end(d, driver.Ack)
	c.drained()
}

func reopenHidden(c *trial) {
	other := c.another()
	c.accept(plain("a"))
	d := c.one("a")
	other.nothing()
	if c.lost(d) {
		c.Error("the claim is lost")
	}
}

func reopenLeft(c *trial) {
	other := c.another()
	c.accept(plain("a"))
	from := c.clock()
	stale := c.oneFor("a", moment)
	valid := other.notBefore(from.Add(moment))
	c.counted(valid, 2, 0)
	err := c.settle(driver.Settlement{Receipt: stale.Receipt, Verb: driver.Ack})
	c.wants(driver.ErrLeaseLost, err, "Settle by the process that lost its lease")
	other.untouched(valid)
}

func reopenSettled(c *trial) {
	other := c.another()
	c.accept(plain("a"))
	d := c.one("a")
	if other.lost(d) {
		c.Error("the claim is lost to another process that has its token")
	}
	other.end(d, driver.Ack)
	c.end(d, driver.Ack)
	c.drained()
}

func reopenUnique(c *trial) {
	c.unique()
	other := c.another()
	other.refuseRepeat()
	other.end(other.one("a"), driver.Ack)
	c.refuseRepeat()
	c.drained()
}

func reopenGroups(c *trial) {
	c.needs(c.caps.Groups, "groups")
	other := c.another()
	c.accept(plain("a")) // both have seen the topic without groups
	other.accept(plain("b"))
	one := c.group("one")
	other.accept(plain("c"))
	one.one("c")
	one.nothing()
	c.must(other.b.Unsubscribe(c.Context(), one.queue))
	c.accept(plain("d"))
	c.take(3)
	c.nothing()
}

func reopenPaused(c *trial) {
	pauser := ability[driver.Pauser](c)
	other := c.another()
	c.accept(plain("a"))
	c.must(pauser.Pause(c.Context(), c.queue))
	other.silent()
	c.must(ability[driver.Pauser](other).Resume(c.Context(), c.queue))
	c.one("a")
}

func reopenWakes(c *trial) {
	other := c.another()
	other.punctual(func(id string) func() time.Time {
		return func() time.Time {
			c.accept(plain(id))
			return time.Now()
		}
	})
}

func reopenShared(c *trial) {
	claimAll(c, []*trial{c, c.another(), c.another()}, 300)
}
