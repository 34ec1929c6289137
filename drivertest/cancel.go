package drivertest

import (
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var cancelPromises = []promise{
	{"a canceled message never runs", cancelReady},
	{"a delayed message can be canceled", cancelDelayed},
	{"a message that waits for its retry can be canceled", cancelRetried},
	{"a running message is not canceled", cancelRunning},
	{"what is not there is not canceled", cancelNothing},
	{"a dead message is not canceled", cancelDead},
	{"the id of a canceled message is free at once", cancelFree},
	{"cancel removes every copy that waits", cancelGroups},
	{"cancel is false while a copy runs", cancelGroupsRunning},
	{"reschedule makes a message due later", rescheduleLater},
	{"reschedule makes a message due sooner", rescheduleSooner},
	{"reschedule reaches every copy that waits", rescheduleGroups},
	{"what runs or is not there is not rescheduled", rescheduleNothing},
	{"reschedule keeps body and counters", rescheduleKeeps},
}

func (c *trial) canceled(canceler driver.Canceler, id string) bool {
	c.Helper()
	ok, err := canceler.Cancel(c.Context(), c.queue.Topic, id)
	c.must(err)
	return ok
}

// reschedule makes a due at an instant, and requires that there was one or was not.
func (c *trial) reschedule(canceler driver.Canceler, at time.Time, want bool) {
	c.Helper()
	got, err := canceler.Reschedule(c.Context(), c.queue.Topic, "a", at)
	c.must(err)
	if got != want {
		c.Errorf("Reschedule = %t, want %t", got, want)
	}
}

// cancelOnce cancels a, which must be there to cancel once.
func (c *trial) cancelOnce(canceler driver.Canceler) {
	c.Helper()
	if !c.canceled(canceler, "a") {
		c.Error("Cancel of a waiting message = false, want true")
	}
	if c.canceled(canceler, "a") {
		c.Error("Cancel of a canceled message = true, want false")
	}
}

func cancelReady(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.accept(plain("a"), plain("b"))
	c.cancelOnce(canceler)
	c.end(c.one("b"), driver.Ack)
	c.drained()
	c.ended()
}

func cancelDelayed(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(driver.Message{ID: "a", Delay: moment})
	c.cancelOnce(canceler)
	c.until(c.clock().Add(moment))
	c.drained()
	c.ended()
}

func cancelRetried(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Retry)
	c.cancelOnce(canceler)
	c.drained()
}

func cancelRunning(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.accept(plain("a"))
	d := c.one("a")
	if c.canceled(canceler, "a") {
		c.Error("Cancel of a running message = true, want false")
	}
	c.untouched(d)
}

func cancelNothing(c *trial) {
	canceler := ability[driver.Canceler](c)
	if c.canceled(canceler, "a") {
		c.Error("Cancel of an unknown id = true, want false")
	}
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Ack)
	if c.canceled(canceler, "a") {
		c.Error("Cancel of an acked message = true, want false")
	}
	if c.caps.UniqueID {
		c.refuseRepeat()
	}
}

func cancelDead(c *trial) {
	canceler, inspector := ability[driver.Canceler](c), ability[driver.Inspector](c)
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Bury)
	if c.canceled(canceler, "a") {
		c.Error("Cancel of a dead message = true, want false")
	}
	if r, err := inspector.Get(c.Context(), c.queue, "a"); err != nil || r.State != driver.Dead {
		c.Errorf("Get = %+v, %v, want the dead message", r, err)
	}
}

func cancelFree(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Retry)
	c.cancelOnce(canceler)
	c.accept(driver.Message{ID: "a", Body: []byte("new")})
	c.counted(c.body("a", "new"), 1, 0)
	c.nothing()
}

func cancelGroups(c *trial) {
	canceler := ability[driver.Canceler](c)
	one, two := c.groups()
	c.accept(plain("a"))
	c.cancelOnce(canceler)
	one.drained()
	two.drained()
}

func cancelGroupsRunning(c *trial) {
	canceler := ability[driver.Canceler](c)
	one, two := c.groups()
	c.accept(plain("a"))
	d := one.one("a")
	if c.canceled(canceler, "a") {
		c.Error("Cancel = true, though a copy runs")
	}
	two.drained()
	one.untouched(d)
}

func rescheduleLater(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(plain("a"))
	at := c.clock().Add(long)
	c.reschedule(canceler, at, true)
	c.nextWithin(at, at)
}

func rescheduleSooner(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(driver.Message{ID: "a", Delay: long})
	at := c.clock().Add(moment)
	c.reschedule(canceler, at, true)
	d := c.notBefore(at)
	c.dueWithin(d.Due, at, at)
}

func rescheduleGroups(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.needs(c.caps.Delay > 0, "delays")
	one, two := c.groups()
	msg := plain("a")
	msg.Delay = long
	c.accept(msg)
	c.reschedule(canceler, c.clock(), true)
	d := one.one("a")
	at := c.clock().Add(2 * long)
	c.reschedule(canceler, at, true)
	two.nextWithin(at, at)
	one.untouched(d)
}

func rescheduleNothing(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.reschedule(canceler, c.clock(), false)
	c.accept(plain("a"))
	d := c.one("a")
	c.reschedule(canceler, c.clock().Add(2*long), false)
	c.untouched(d)
	c.reschedule(canceler, c.clock(), false)
	c.drained()
}

func rescheduleKeeps(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Retry)
	c.reschedule(canceler, c.clock(), true)
	c.counted(c.body("a", "body of a"), 2, 1)
	c.nothing()
}
