package drivertest

import (
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var uniquePromises = []promise{
	{"the id of a ready message is a duplicate", uniqueReady},
	{"the id of a delayed message is a duplicate", uniqueDelayed},
	{"the id of a running message is a duplicate", uniqueRunning},
	{"the id of a message that waits for its retry is a duplicate", uniqueRetried},
	{"the id of a released message is a duplicate", uniqueReleased},
	{"the id of an acked message is a duplicate in the window", uniqueAcked},
	{"the id of a buried message is a duplicate in the window", uniqueBuried},
	{"the id of a requeued message is a duplicate", uniqueRequeued},
	{"of one id in a batch the first is accepted", uniqueInBatch},
	{"another topic may use the id", uniquePerTopic},
}

var windowPromises = []promise{
	{"the id of an acked message is known for the window and free after it", windowAcked},
	{"the id of a buried message is known for the window and free after it", windowBuried},
	{"the id of a running message stays known beyond the window", windowRunning},
	{"a dead letter gives way to a later one of its id", windowDeadGivesWay},
	{"a living message is shown before a dead one of its id", windowLivingFirst},
	{"requeue of an id that lives is a duplicate", windowRequeueLiving},
}

// refuseRepeat requires that a is known, and that a Push of it changes nothing.
func (c *trial) refuseRepeat() {
	c.Helper()
	c.refuse(driver.Message{ID: "a", Body: []byte("repeated")}, driver.ErrDuplicate)
}

// unique accepts the message a of a broker that knows ids.
func (c *trial) unique() {
	c.Helper()
	c.needs(c.caps.UniqueID, "unique ids")
	c.accept(plain("a"))
}

func uniqueReady(c *trial) {
	c.unique()
	c.refuseRepeat()
	c.body("a", "body of a")
	c.nothing()
}

func uniqueDelayed(c *trial) {
	c.needs(c.caps.UniqueID, "unique ids")
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(driver.Message{ID: "a", Delay: long})
	c.refuseRepeat()
	c.nothing()
}

func uniqueRunning(c *trial) {
	c.unique()
	d := c.one("a")
	c.refuseRepeat()
	c.nothing()
	c.end(d, driver.Ack)
	c.drained()
}

func uniqueRetried(c *trial) {
	c.unique()
	c.end(c.one("a"), driver.Retry)
	c.refuseRepeat()
	c.counted(c.body("a", "body of a"), 2, 1)
	c.nothing()
}

func uniqueReleased(c *trial) {
	c.unique()
	c.end(c.one("a"), driver.Release)
	c.refuseRepeat()
	c.counted(c.body("a", "body of a"), 1, 0)
	c.nothing()
}

func uniqueAcked(c *trial) {
	c.unique()
	c.end(c.one("a"), driver.Ack)
	c.refuseRepeat()
	c.drained()
}

func uniqueBuried(c *trial) {
	c.unique()
	c.end(c.one("a"), driver.Bury)
	c.refuseRepeat()
	c.drained()
}

func uniqueRequeued(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.unique()
	c.end(c.one("a"), driver.Bury)
	c.requeue(letters, "a")
	c.refuseRepeat()
	c.body("a", "body of a")
	c.nothing()
}

func uniqueInBatch(c *trial) {
	c.needs(c.caps.UniqueID, "unique ids")
	outcomes := c.push(plain("a"), driver.Message{ID: "a", Body: []byte("repeated")}, plain("b"))
	c.must(outcomes[0])
	c.wants(driver.ErrDuplicate, outcomes[1], "outcome of the second of one id")
	c.must(outcomes[2])
	for _, d := range c.take(2) {
		if string(d.Body) != "body of "+d.ID {
			c.Errorf("message %q has the body %q, want that of the first", d.ID, d.Body)
		}
	}
	c.nothing()
}

func uniquePerTopic(c *trial) {
	c.accept(plain("a"))
	other := c.in(c.queue.Topic + "2")
	other.accept(driver.Message{ID: "a", Body: []byte("other")})
	other.body("a", "other")
	c.body("a", "body of a")
}

// pushLater pushes another a, when the window of the first has ended.
func (c *trial) pushLater() {
	c.Helper()
	c.eventually("end of the window", func() bool {
		return c.push(driver.Message{ID: "a", Body: []byte("later")})[0] == nil
	})
}

// freeAgain pushes another a, which must not be accepted before the window has
// passed that began after start.
func (c *trial) freeAgain(start time.Time) {
	c.Helper()
	c.pushLater()
	if d := time.Since(start); d < brief-5*time.Millisecond {
		c.Errorf("id was free again after %v, want it known for %v", d, brief)
	}
}

func windowAcked(c *trial) {
	c.unique()
	d := c.one("a")
	start := time.Now()
	c.end(d, driver.Ack)
	c.freeAgain(start)
	c.counted(c.body("a", "later"), 1, 0)
	c.nothing()
}

func windowBuried(c *trial) {
	c.unique()
	d := c.one("a")
	start := time.Now()
	c.end(d, driver.Bury)
	c.freeAgain(start)
	c.counted(c.body("a", "later"), 1, 0)
	c.nothing()
}

func windowRunning(c *trial) {
	c.unique()
	c.oneFor("a", moment)
	c.until(c.clock().Add(moment + brief))
	c.refuseRepeat()
	c.counted(c.body("a", "body of a"), 2, 0)
}

func windowDeadGivesWay(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.unique()
	bury(c, "first")
	c.pushLater()
	bury(c, "second")
	records, err := inspector.List(c.Context(), c.queue, driver.Dead, 0, 10)
	c.must(err)
	if len(records) != 1 || records[0].Reason != "second" || string(records[0].Body) != "later" {
		c.Errorf("dead letters = %+v, want the second one alone", records)
	}
}

func windowLivingFirst(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.unique()
	bury(c, "first")
	c.pushLater()
	r, err := inspector.Get(c.Context(), c.queue, "a")
	c.must(err)
	if r.State == driver.Dead || string(r.Body) != "later" {
		c.Errorf("Get = %+v, want the living message", r)
	}
}

func windowRequeueLiving(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.unique()
	bury(c, "first")
	c.pushLater()
	outcomes, err := letters.Requeue(c.Context(), c.queue, "a")
	c.must(err)
	c.wants(driver.ErrDuplicate, outcomes[0], "Requeue of an id that waits")
	d := c.body("a", "later")
	outcomes, err = letters.Requeue(c.Context(), c.queue, "a")
	c.must(err)
	c.wants(driver.ErrDuplicate, outcomes[0], "Requeue of an id that runs")
	c.end(d, driver.Ack)
	c.drained()
	c.requeue(letters, "a")
	c.body("a", "body of a")
}
