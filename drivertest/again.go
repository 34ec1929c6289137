package drivertest

import (
	"github.com/fanfare-go/fanfare/driver"
)

var againPromises = []promise{
	{"run again keeps a message that waits", againWaiting},
	{"run again of an unknown id is a push", func(c *trial) { conflictUnknown(c, driver.RunAgain) }},
	{"run again in the window is a push", func(c *trial) { conflictEnded(c, driver.RunAgain) }},
	{"run again waits from when the running one is acked", func(c *trial) { againAfter(c, driver.Ack) }},
	{"run again waits from when the running one is buried", func(c *trial) { againAfter(c, driver.Bury) }},
	{"run again stays beside a message that is retried", func(c *trial) { againBeside(c, driver.Retry) }},
	{"run again stays beside a message that is released", func(c *trial) { againBeside(c, driver.Release) }},
	{"at most one is kept to run again", againOnce},
	{"run again has its own due time", againDue},
	{"run again has its own priority", againPriority},
	{"run again can be asked for again when it runs", againRepeated},
	{"run again is kept where the message runs", againGroups},
	{"cancel removes what is kept to run again", againCanceled},
	{"reschedule moves what is kept to run again", againRescheduled},
	{"purge removes what is kept to run again", againPurged},
	{"the id of a message that ran again is known for the window", againUnique},
	{"claimed at most once, what is kept to run again comes with a later claim", againAtMostOnce},
}

var next = driver.Message{ID: "a", Body: []byte("next"), Conflict: driver.RunAgain}

// again claims a while another is kept to run after it.
func (c *trial) again() driver.Delivery {
	c.Helper()
	c.needs(c.caps.Conflict, "conflict modes")
	c.accept(plain("a"))
	d := c.one("a")
	c.accept(next)
	c.nothing()
	return d
}

func againAtMostOnce(c *trial) {
	c.needs(c.caps.AtMostOnce, "claims for at most once")
	c.end(c.again(), driver.Release)
	once := driver.ClaimRequest{AtMostOnce: true, Lease: long, Limit: 2}
	for _, body := range []string{"body of a", "next"} {
		var got []driver.Delivery
		c.eventually("claim "+body, func() bool {
			got = c.claim(once).Deliveries
			return len(got) > 0
		})
		if len(got) != 1 || string(got[0].Body) != body {
			c.Fatalf("claimed %v, want one message with the body %q", ids(got), body)
		}
	}
	c.drained()
}

func againWaiting(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.accept(plain("a"))
	c.refuse(next, driver.ErrDuplicate)
	c.end(c.body("a", "body of a"), driver.Ack)
	c.drained()
}

func againAfter(c *trial, v driver.Verb) {
	d := c.again()
	c.end(d, v)
	c.refuse(plain("a"), driver.ErrDuplicate)
	d = c.body("a", "next")
	c.counted(d, 1, 0)
	c.end(d, driver.Ack)
	c.drained()
}

func againBeside(c *trial, v driver.Verb) {
	d := c.again()
	c.end(d, v)
	c.refuse(next, driver.ErrDuplicate)
	d = c.body("a", "body of a")
	c.nothing()
	c.end(d, driver.Ack)
	c.end(c.body("a", "next"), driver.Ack)
	c.drained()
}

func againOnce(c *trial) {
	d := c.again()
	c.refuse(driver.Message{ID: "a", Body: []byte("third"), Conflict: driver.RunAgain}, driver.ErrDuplicate)
	c.refuse(plain("a"), driver.ErrDuplicate)
	c.end(d, driver.Ack)
	c.end(c.body("a", "next"), driver.Ack)
	c.drained()
}

func againDue(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(plain("a"))
	d := c.one("a")
	msg, from := next, c.clock()
	msg.Delay = long
	c.accept(msg)
	to := c.clock()
	c.end(d, driver.Ack)
	c.nextWithin(from.Add(long), to.Add(long))
}

func againPriority(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.needs(c.caps.Priority, "priorities")
	c.accept(plain("a"))
	d := c.one("a")
	msg := next
	msg.Priority = driver.Low
	c.accept(msg)
	c.end(d, driver.Ack)
	if d := c.body("a", "next"); d.Priority != driver.Low {
		c.Errorf("priority = %d, want Low", d.Priority)
	}
}

func againRepeated(c *trial) {
	d := c.again()
	for range 3 {
		c.end(d, driver.Ack)
		d = c.body("a", "next")
		c.accept(next)
		c.nothing()
	}
}

func againGroups(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	one, two := c.groups()
	c.accept(plain("a"))
	running := one.one("a")
	c.accept(next)
	two.end(two.body("a", "body of a"), driver.Ack)
	two.drained()
	one.end(running, driver.Ack)
	one.end(one.body("a", "next"), driver.Ack)
	one.drained()
}

func againCanceled(c *trial) {
	canceler := ability[driver.Canceler](c)
	d := c.again()
	if c.canceled(canceler, "a") {
		c.Error("Cancel = true, though a message of the id runs")
	}
	if c.lost(d) {
		c.Error("the claim of the running message is lost")
	}
	c.end(d, driver.Ack)
	c.drained()
}

func againRescheduled(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.needs(c.caps.Delay > 0, "delays")
	d := c.again()
	at := c.clock().Add(long)
	c.reschedule(canceler, at, true)
	if c.lost(d) {
		c.Error("the claim of the running message is lost")
	}
	c.end(d, driver.Ack)
	c.nextWithin(at, at)
}

func againPurged(c *trial) {
	purger := ability[driver.Purger](c)
	d := c.again()
	c.purge(purger)
	c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Ack})
	c.drained()
	c.ended()
}

func againUnique(c *trial) {
	d := c.again()
	c.end(d, driver.Ack)
	c.end(c.body("a", "next"), driver.Ack)
	c.refuse(plain("a"), driver.ErrDuplicate)
	c.drained()
}
