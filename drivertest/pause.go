package drivertest

import (
	"github.com/fanfare-go/fanfare/driver"
)

var pausePromises = []promise{
	{"nothing is claimed from a paused group", pauseGroup},
	{"nothing is claimed from a paused topic", pauseTopic},
	{"pausing one group leaves the others alone", pauseOneGroup},
	{"what is pushed during a pause comes after it", pausePushed},
	{"claims can be extended and settled during a pause", pauseRunning},
	{"resume ends only what pause with the same queue began", pauseBoth},
	{"pausing again changes nothing", pauseRepeated},
	{"resuming what is not paused is no error", pauseResumed},
	{"a pause lasts when nothing is left", pauseLasts},
	{"the pause of a group ends with the group", pauseUnsubscribed},
	{"status shows what is paused", pauseShown},
}

// whole returns the topic of q, as Pause takes it.
func whole(q driver.Queue) driver.Queue { return driver.Queue{Topic: q.Topic} }

// silent requires that nothing is claimed, and that nobody is asked to try again at once.
func (c *trial) silent() {
	c.Helper()
	if claim := c.nothing(); claim.Next == 0 {
		c.Error("Claim of a paused queue says that more is claimable")
	}
}

func pauseGroup(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.accept(plain("a"))
	c.must(pauser.Pause(c.Context(), c.queue))
	c.silent()
	c.must(pauser.Resume(c.Context(), c.queue))
	c.one("a")
}

func pauseUnsubscribed(c *trial) {
	pauser := ability[driver.Pauser](c)
	one, _ := c.groups()
	c.must(pauser.Pause(c.Context(), one.queue))
	c.must(c.b.Unsubscribe(c.Context(), one.queue))
	c.must(c.b.Subscribe(c.Context(), one.queue))
	c.accept(plain("a"))
	one.one("a")
}

func pauseTopic(c *trial) {
	pauser := ability[driver.Pauser](c)
	one, two := c.groups()
	c.accept(plain("a"))
	c.must(pauser.Pause(c.Context(), whole(c.queue)))
	one.silent()
	two.silent()
	three := c.group("three")
	c.accept(plain("b"))
	three.silent()
	c.must(pauser.Resume(c.Context(), whole(c.queue)))
	one.take(2)
	two.take(2)
	three.one("b")
}

func pauseOneGroup(c *trial) {
	pauser := ability[driver.Pauser](c)
	one, two := c.groups()
	c.accept(plain("a"))
	c.must(pauser.Pause(c.Context(), one.queue))
	one.silent()
	two.one("a")
	other := c.in(c.queue.Topic + "2")
	other.accept(plain("a"))
	other.one("a")
}

func pausePushed(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.must(pauser.Pause(c.Context(), c.queue))
	c.accept(plain("a"), plain("b"))
	c.silent()
	c.must(pauser.Resume(c.Context(), c.queue))
	c.take(2)
}

func pauseRunning(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.accept(plain("a"), plain("b"), plain("c"))
	ds := c.take(3)
	c.must(pauser.Pause(c.Context(), c.queue))
	c.end(ds[0], driver.Ack)
	c.end(ds[1], driver.Retry)
	if c.lost(ds[2]) {
		c.Error("a claim is lost by a pause")
	}
	c.silent()
	c.must(pauser.Resume(c.Context(), c.queue))
	c.counted(c.one(ds[1].ID), 2, 1)
	c.nothing()
}

func pauseBoth(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.accept(plain("a"))
	c.must(pauser.Pause(c.Context(), c.queue))
	c.must(pauser.Pause(c.Context(), whole(c.queue)))
	c.must(pauser.Resume(c.Context(), c.queue))
	c.silent()
	c.must(pauser.Pause(c.Context(), c.queue))
	c.must(pauser.Resume(c.Context(), whole(c.queue)))
	c.silent()
	c.must(pauser.Resume(c.Context(), c.queue))
	c.one("a")
}

func pauseRepeated(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.accept(plain("a"))
	for range 3 {
		c.must(pauser.Pause(c.Context(), c.queue))
	}
	c.silent()
	c.must(pauser.Resume(c.Context(), c.queue))
	c.one("a")
}

func pauseResumed(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.must(pauser.Resume(c.Context(), c.queue))
	c.must(pauser.Resume(c.Context(), whole(c.queue)))
	c.accept(plain("a"))
	c.one("a")
}

func pauseLasts(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.accept(plain("a"))
	d := c.one("a")
	c.must(pauser.Pause(c.Context(), c.queue))
	c.end(d, driver.Ack)
	c.ended()
	c.accept(plain("b"))
	c.silent()
}

func pauseShown(c *trial) {
	pauser := ability[driver.Pauser](c)
	ability[driver.Inspector](c)
	c.accept(plain("a"))
	shown := func(want bool) {
		c.Helper()
		if s, _ := c.status(); s.Paused != want {
			c.Errorf("Status shows paused %t, want %t", s.Paused, want)
		}
	}
	shown(false)
	for _, q := range []driver.Queue{c.queue, whole(c.queue)} {
		c.must(pauser.Pause(c.Context(), q))
		shown(true)
		c.must(pauser.Resume(c.Context(), q))
		shown(false)
	}
}
