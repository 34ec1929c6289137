package drivertest

import (
	"slices"

	"github.com/fanfare-go/fanfare/driver"
)

var groupPromises = []promise{
	{"each group has its own copy", groupCopies},
	{"what one group does leaves the others alone", groupApart},
	{"without a group messages wait for the default group", groupDefault},
	{"a group gets what is pushed after it subscribed", groupLater},
	{"messages of the default group stay there when another subscribes", groupDefaultStays},
	{"an id is a duplicate while it waits for the default group, also of other groups", groupDefaultDuplicate},
	{"subscribing again changes nothing", groupRepeated},
	{"unsubscribe removes everything the group holds", groupUnsubscribed},
	{"unsubscribe lets the claims of the group go", groupUnsubscribedRunning},
	{"unsubscribe leaves the other groups alone", groupUnsubscribedOne},
	{"unsubscribing what is not there is no error", groupUnsubscribeNothing},
	{"after the last group left messages wait for the default group", groupLastLeft},
	{"an id is free when no group has it", groupIDFree},
	{"an id is a duplicate while any group has it", groupDuplicate},
	{"a group that is subscribed but not default leaves default empty", groupNotDefault},
}

// groups returns the trial with each of two groups.
func (c *trial) groups() (one, two *trial) {
	c.Helper()
	c.needs(c.caps.Groups, "groups")
	return c.group("one"), c.group("two")
}

func groupCopies(c *trial) {
	one, two := c.groups()
	c.accept(plain("a"), plain("b"))
	for _, g := range []*trial{one, two} {
		got := ids(g.take(2))
		slices.Sort(got)
		if !slices.Equal(got, []string{"a", "b"}) {
			c.Errorf("group %s claimed %v, want a and b", g.queue.Group, got)
		}
		g.nothing()
	}
}

func groupApart(c *trial) {
	one, two := c.groups()
	c.accept(plain("a"), driver.Message{ID: "b"})
	for _, d := range one.take(2) {
		one.end(d, driver.Retry)
	}
	for _, d := range one.take(2) {
		one.counted(d, 2, 1)
		one.end(d, driver.Ack)
	}
	one.drained()
	for _, d := range two.take(2) {
		two.counted(d, 1, 0)
		two.end(d, driver.Bury)
	}
	two.drained()
}

func groupDefault(c *trial) {
	c.accept(plain("a"))
	c.body("a", "body of a")
	c.nothing()
}

func groupDefaultDuplicate(c *trial) {
	c.needs(c.caps.Groups && c.caps.UniqueID, "groups and ids")
	c.accept(plain("a"))
	one := c.group("one")
	c.refuse(plain("a"), driver.ErrDuplicate)
	one.nothing()
	c.group(driver.DefaultGroup).one("a")
}

func groupLater(c *trial) {
	c.needs(c.caps.Groups, "groups")
	one := c.group("one")
	c.accept(plain("a"))
	two := c.group("two")
	c.accept(plain("b"))
	one.take(2)
	two.body("b", "body of b")
	two.nothing()
}

func groupDefaultStays(c *trial) {
	c.needs(c.caps.Groups, "groups")
	c.accept(plain("a"))
	one := c.group("one")
	c.accept(plain("b"))
	one.one("b")
	one.nothing()
	c.one("a")
	c.nothing()
}

func groupRepeated(c *trial) {
	one := c.group(driver.DefaultGroup)
	c.accept(plain("a"))
	running := one.one("a")
	c.accept(plain("b"))
	for range 3 {
		c.group(driver.DefaultGroup)
	}
	one.one("b")
	one.nothing()
	one.end(running, driver.Ack)
}

func groupUnsubscribed(c *trial) {
	c.accept(plain("a"), plain("b"), plain("c"))
	if c.caps.Delay > 0 {
		c.accept(driver.Message{ID: "d", Delay: long})
	}
	ds := c.take(2)
	c.end(ds[0], driver.Bury)
	c.must(c.b.Unsubscribe(c.Context(), c.queue))
	c.drained()
	c.ended()
	c.group(driver.DefaultGroup)
	c.drained()
	c.ended()
}

func groupUnsubscribedRunning(c *trial) {
	c.accept(plain("a"))
	d := c.oneFor("a", moment)
	c.must(c.b.Unsubscribe(c.Context(), c.queue))
	c.group(driver.DefaultGroup)
	if !c.lost(d) {
		c.Error("the claim of a group that is gone is not lost")
	}
	c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Retry})
	c.until(c.clock().Add(moment))
	c.drained()
}

func groupUnsubscribedOne(c *trial) {
	one, two := c.groups()
	c.accept(plain("a"), plain("b"))
	d := two.take(1)[0]
	c.must(c.b.Unsubscribe(c.Context(), one.queue))
	two.take(1)
	two.end(d, driver.Ack)
	c.accept(plain("c"))
	two.one("c")
	one.drained()
}

func groupUnsubscribeNothing(c *trial) {
	for range 2 {
		c.must(c.b.Unsubscribe(c.Context(), c.queue))
		c.must(c.b.Unsubscribe(c.Context(), driver.Queue{Topic: c.queue.Topic, Group: "never there"}))
	}
	c.accept(plain("a"))
	c.one("a")
}

func groupLastLeft(c *trial) {
	c.needs(c.caps.Groups, "groups")
	one := c.group("one")
	c.accept(plain("a"))
	c.must(c.b.Unsubscribe(c.Context(), one.queue))
	c.accept(plain("b"))
	c.one("b")
	c.nothing()
	one.drained()
}

func groupIDFree(c *trial) {
	c.unique()
	c.must(c.b.Unsubscribe(c.Context(), c.queue))
	c.accept(plain("a"))
	c.counted(c.one("a"), 1, 0)
}

func groupDuplicate(c *trial) {
	c.needs(c.caps.UniqueID, "unique ids")
	one, two := c.groups()
	c.accept(plain("a"))
	c.refuseRepeat()
	one.end(one.one("a"), driver.Ack)
	c.refuseRepeat()
	d := two.one("a")
	c.refuseRepeat()
	two.end(d, driver.Ack)
	c.refuseRepeat()
	one.drained()
	two.drained()
}

func groupNotDefault(c *trial) {
	c.needs(c.caps.Groups, "groups")
	one := c.group("one")
	c.accept(plain("a"))
	c.drained()
	one.one("a")
}
