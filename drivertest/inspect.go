package drivertest

import (
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var inspectPromises = []promise{
	{"a ready message is shown as it was pushed", inspectReady},
	{"a delayed message is shown with its due time", inspectDelayed},
	{"a running message is shown with the end of its lease", inspectRunning},
	{"a message that waits for its retry is shown with its failure", inspectRetried},
	{"a failure without a text leaves that of the one before", inspectSilentFailure},
	{"a dead message is shown with its reason", inspectDead},
	{"what is not there is not found", inspectNothing},
	{"looking changes nothing", inspectHarmless},
	{"each group has its own record", inspectGroups},
}

// get returns the record of a, which must be in the state s.
func (c *trial) get(inspector driver.Inspector, s driver.State) driver.Record {
	c.Helper()
	r, err := inspector.Get(c.Context(), c.queue, "a")
	c.must(err)
	if r.State != s {
		c.Errorf("state = %q, want %q", r.State, s)
	}
	if r.ID != "a" || r.Queue != c.queue || string(r.Body) != "body of a" {
		c.Errorf("Get = %+v, want the message a of %q", r, c.queue)
	}
	return r
}

func (c *trial) recorded(r driver.Record, attempts, failures int) {
	c.Helper()
	if r.Attempts != attempts || r.Failures != failures {
		c.Errorf("record shows %d attempts and %d failures, want %d and %d", r.Attempts, r.Failures, attempts, failures)
	}
}

func inspectReady(c *trial) {
	inspector := ability[driver.Inspector](c)
	msg := plain("a")
	if c.caps.Priority {
		msg.Priority = driver.High
	}
	from := c.clock()
	c.accept(msg)
	to := c.clock()
	c.until(to.Add(c.caps.Delay))
	r := c.get(inspector, driver.Ready)
	c.recorded(r, 0, 0)
	c.dueWithin(r.Time, from, to)
	if r.Priority != msg.Priority {
		c.Errorf("priority = %d, want %d", r.Priority, msg.Priority)
	}
}

func inspectDelayed(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.needs(c.caps.Delay > 0, "delays")
	from := c.clock()
	msg := plain("a")
	msg.Delay = long
	c.accept(msg)
	r := c.get(inspector, driver.Delayed)
	c.dueWithin(r.Time, from.Add(long), c.clock().Add(long))
}

func inspectRunning(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.accept(plain("a"))
	from := c.clock()
	c.one("a")
	r := c.get(inspector, driver.Running)
	c.recorded(r, 1, 0)
	grain := max(c.caps.Delay, time.Millisecond)
	c.dueWithin(r.Time, from.Add(long-grain), c.clock().Add(long))
}

func inspectRetried(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(plain("a"))
	from := c.clock()
	for _, text := range []string{"first", "second\n\"failure\" ✗"} {
		s := driver.Settlement{Verb: driver.Retry, Delay: moment / 10, Error: text}
		s.Receipt = c.one("a").Receipt
		c.must(c.settle(s))
		r, err := inspector.Get(c.Context(), c.queue, "a")
		c.must(err)
		if r.LastError != text {
			c.Errorf("last error = %q, want %q", r.LastError, text)
		}
	}
	s := driver.Settlement{Verb: driver.Release, Delay: long}
	s.Receipt = c.one("a").Receipt
	c.must(c.settle(s))
	r := c.get(inspector, driver.Delayed)
	c.recorded(r, 2, 2)
	c.dueWithin(r.Time, from.Add(long), c.clock().Add(long))
}

func inspectSilentFailure(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.accept(plain("a"))
	for _, s := range []driver.Settlement{
		{Verb: driver.Retry, Error: "it broke"}, {Verb: driver.Retry}, {Verb: driver.Release}, {Verb: driver.Bury, Reason: "exhausted"},
	} {
		s.Receipt = c.one("a").Receipt
		c.must(c.settle(s))
		r, err := inspector.Get(c.Context(), c.queue, "a")
		c.must(err)
		if r.LastError != "it broke" {
			c.Errorf("last error after verb %d = %q, want that of the first failure", s.Verb, r.LastError)
		}
	}
}

func inspectDead(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.accept(plain("a"))
	d := c.one("a")
	from := c.clock()
	c.must(c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Bury, Reason: "exhausted", Error: "it\nbroke"}))
	r := c.get(inspector, driver.Dead)
	c.recorded(r, 1, 1)
	c.dueWithin(r.Time, from, c.clock())
	if r.Reason != "exhausted" || r.LastError != "it\nbroke" {
		c.Errorf("reason = %q, error = %q, want those of the settlement", r.Reason, r.LastError)
	}
}

func inspectNothing(c *trial) {
	inspector := ability[driver.Inspector](c)
	missing := func() {
		c.Helper()
		_, err := inspector.Get(c.Context(), c.queue, "a")
		c.wants(driver.ErrNotFound, err, "Get")
	}
	missing()
	c.accept(plain("a"), plain("b"))
	for _, d := range c.take(2) {
		c.end(d, driver.Ack)
	}
	missing()
	for _, s := range []driver.State{driver.Ready, driver.Delayed, driver.Waiting, driver.Running, driver.Dead} {
		if records := c.list(inspector, s, 0, 10); len(records) > 0 {
			c.Errorf("List of what is %s = %v, want nothing", s, records)
		}
	}
}

func inspectHarmless(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.accept(plain("a"))
	c.until(c.clock().Add(c.caps.Delay))
	look := func(s driver.State) {
		c.Helper()
		for range 3 {
			r := c.get(inspector, s)
			clear(r.Body)
			for _, r := range c.list(inspector, s, 0, 10) {
				clear(r.Body)
			}
			c.status()
		}
	}
	look(driver.Ready)
	d := c.body("a", "body of a")
	c.counted(d, 1, 0)
	look(driver.Running)
	c.end(d, driver.Bury)
	look(driver.Dead)
}

func inspectGroups(c *trial) {
	inspector := ability[driver.Inspector](c)
	one, two := c.groups()
	c.accept(plain("a"))
	one.end(one.one("a"), driver.Bury)
	c.recorded(one.get(inspector, driver.Dead), 1, 1)
	two.one("a")
	c.recorded(two.get(inspector, driver.Running), 1, 0)
	_, err := inspector.Get(c.Context(), c.queue, "a")
	c.wants(driver.ErrNotFound, err, "Get of the default group, which has no copy")
}
