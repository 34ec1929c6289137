package drivertest

import (
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var conflictPromises = []promise{
	{"keep first is the default", conflictKeepFirst},
	{"replace gives a waiting message the new body", conflictReplaceBody},
	{"replace gives a waiting message the new priority", conflictReplacePriority},
	{"replace gives a waiting message the new due time", conflictReplaceDue},
	{"replace keeps the counters of a message that waits for its retry", conflictReplaceRetried},
	{"push back gives a waiting message the new due time alone", conflictPushBack},
	{"push back can make a message due sooner", conflictPushBackSooner},
	{"replace of a running message is a duplicate", func(c *trial) { conflictRunning(c, driver.Replace) }},
	{"push back of a running message is a duplicate", func(c *trial) { conflictRunning(c, driver.PushBack) }},
	{"replace in the window is a push", func(c *trial) { conflictEnded(c, driver.Replace) }},
	{"push back in the window is a push", func(c *trial) { conflictEnded(c, driver.PushBack) }},
	{"replace of an unknown id is a push", func(c *trial) { conflictUnknown(c, driver.Replace) }},
	{"push back of an unknown id is a push", func(c *trial) { conflictUnknown(c, driver.PushBack) }},
	{"replace reaches each copy that waits", conflictReplaceGroups},
	{"push back reaches each copy that waits", conflictPushBackGroups},
	{"what replaced an expired claim is not acked by its holder", conflictReplaceExpired},
}

// conflicting returns the trial with the message a waiting for a long time.
func (c *trial) conflicting() {
	c.Helper()
	c.needs(c.caps.Conflict, "conflict modes")
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(driver.Message{ID: "a", Delay: long, Body: []byte("old")})
}

// replacement returns a message that replaces a.
func replacement(delay time.Duration) driver.Message {
	return driver.Message{ID: "a", Delay: delay, Body: []byte("new"), Conflict: driver.Replace}
}

// pushBack returns a message that pushes a back.
func pushBack(delay time.Duration) driver.Message {
	return driver.Message{ID: "a", Delay: delay, Body: []byte("new"), Conflict: driver.PushBack}
}

func conflictKeepFirst(c *trial) {
	c.unique()
	c.refuse(driver.Message{ID: "a", Body: []byte("new"), Conflict: driver.KeepFirst}, driver.ErrDuplicate)
	c.body("a", "body of a")
	c.nothing()
}

func conflictReplaceBody(c *trial) {
	c.conflicting()
	c.accept(replacement(0))
	c.counted(c.body("a", "new"), 1, 0)
	c.nothing()
}

func conflictReplacePriority(c *trial) {
	c.conflicting()
	c.needs(c.caps.Priority, "priorities")
	msg := replacement(0)
	for _, p := range []driver.Priority{driver.High, driver.Low, driver.Normal, driver.High} {
		msg.Priority = p
		c.accept(msg)
	}
	if d := c.body("a", "new"); d.Priority != driver.High {
		c.Errorf("priority = %d, want High", d.Priority)
	}
	c.nothing()
}

func conflictReplaceDue(c *trial) {
	c.conflicting()
	from := c.clock()
	c.accept(replacement(2 * long))
	c.nextWithin(from.Add(2*long), c.clock().Add(2*long))
	from = c.clock()
	c.accept(replacement(moment))
	c.notBefore(from.Add(moment))
	c.nothing()
}

func conflictReplaceRetried(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Retry)
	c.accept(replacement(0))
	c.counted(c.body("a", "new"), 2, 1)
	c.nothing()
}

func conflictPushBack(c *trial) {
	c.conflicting()
	msg := pushBack(2 * long)
	if c.caps.Priority {
		msg.Priority = driver.High
	}
	from := c.clock()
	c.accept(msg)
	c.nextWithin(from.Add(2*long), c.clock().Add(2*long))
	msg.Delay = 0
	c.accept(msg)
	if d := c.body("a", "old"); d.Priority != driver.Normal {
		c.Errorf("priority = %d, want that of the first", d.Priority)
	}
	c.nothing()
}

func conflictPushBackSooner(c *trial) {
	c.conflicting()
	from := c.clock()
	c.accept(pushBack(moment))
	if d := c.notBefore(from.Add(moment)); string(d.Body) != "old" {
		c.Errorf("body = %q, want that of the first", d.Body)
	}
	c.nothing()
}

func conflictRunning(c *trial, mode driver.Conflict) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.accept(plain("a"))
	d := c.one("a")
	c.refuse(driver.Message{ID: "a", Body: []byte("new"), Conflict: mode}, driver.ErrDuplicate)
	if c.lost(d) {
		c.Error("the claim is lost")
	}
	c.end(d, driver.Retry)
	c.end(c.body("a", "body of a"), driver.Ack)
	c.drained()
}

func conflictEnded(c *trial, mode driver.Conflict) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Ack)
	c.accept(driver.Message{ID: "a", Body: []byte("new"), Conflict: mode})
	d := c.body("a", "new")
	c.counted(d, 1, 0)
	c.end(d, driver.Ack)
	c.refuse(plain("a"), driver.ErrDuplicate)
	c.drained()
}

func conflictUnknown(c *trial, mode driver.Conflict) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.accept(driver.Message{ID: "a", Body: []byte("new"), Conflict: mode})
	c.body("a", "new")
	c.nothing()
}

func conflictReplaceGroups(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	one, two := c.groups()
	c.accept(plain("a"))
	running := one.one("a")
	c.accept(replacement(0))
	two.body("a", "new")
	two.nothing()
	one.end(running, driver.Retry)
	one.body("a", "body of a")
	one.nothing()
}

func conflictPushBackGroups(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	one, two := c.groups()
	c.conflicting()
	c.accept(pushBack(0))
	for _, g := range []*trial{one, two} {
		g.body("a", "old")
		g.nothing()
	}
	c.refuse(pushBack(0), driver.ErrDuplicate)
}

// Whether such a message still waits or runs is left open; that nothing accepted
// is lost is not.
func conflictReplaceExpired(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.accept(plain("a"))
	d := c.oneFor("a", moment/10)
	c.until(c.clock().Add(moment / 10))
	if err := c.push(replacement(0))[0]; err != nil {
		c.wants(driver.ErrDuplicate, err, "Push over an expired claim")
		return
	}
	c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Ack})
	c.body("a", "new")
}
