package drivertest

import (
	"slices"

	"github.com/fanfare-go/fanfare/driver"
)

var leasePromises = []promise{
	{"a message is claimable again when its lease ran out", leaseExpires},
	{"a lease that ran out keeps priority and due time", leaseKeepsPlace},
	{"a lease that ran out keeps its turn among equals", leaseKeepsTurn},
	{"each lease that ran out counts an attempt and no failure", leaseCounts},
	{"a lease that ran out can be settled while nobody else has the message", leaseLateSettle},
	{"a lease that ran out can be extended while nobody else has the message", leaseLateExtend},
	{"extend sets the lease to end one lease from now", leaseExtended},
	{"extend never shortens a lease", leaseNotShortened},
	{"extend reports which claims are lost", leaseLost},
	{"extend of nothing is no error", leaseExtendNothing},
	{"extend keeps a message from others", leaseKept},
}

func leaseExpires(c *trial) {
	c.accept(plain("a"))
	from := c.clock()
	first := c.oneFor("a", moment)
	second := c.notBefore(from.Add(moment))
	if second.ID != "a" || string(second.Body) != string(first.Body) {
		c.Errorf("claimed %q with body %q, want the same message", second.ID, second.Body)
	}
	c.counted(second, 2, 0)
	c.nothing()
}

func leaseKeepsPlace(c *trial) {
	msg := plain("a")
	if c.caps.Priority {
		msg.Priority = driver.High
	}
	c.accept(msg)
	first := c.oneFor("a", moment)
	second := c.one("a")
	if second.Priority != first.Priority || second.Priority != msg.Priority {
		c.Errorf("priority = %d, then %d, want %d", first.Priority, second.Priority, msg.Priority)
	}
	if !second.Due.Equal(first.Due) {
		c.Errorf("due at %v, then at %v, want the same", first.Due, second.Due)
	}
}

func leaseKeepsTurn(c *trial) {
	c.accept(plain("a"))
	c.until(c.clock().Add(c.caps.Delay))
	c.oneFor("a", moment)
	c.until(c.clock().Add(c.caps.Delay))
	c.accept(plain("b"))
	c.until(c.clock().Add(moment))
	if got := ids(c.take(2)); got[0] != "a" {
		c.Errorf("claimed %v, want a, which was due before b", got)
	}
}

func leaseCounts(c *trial) {
	c.accept(plain("a"))
	for attempt := 1; attempt <= 3; attempt++ {
		c.counted(c.oneFor("a", moment/5), attempt, 0)
	}
	d := c.one("a")
	c.counted(d, 4, 0)
	c.end(d, driver.Retry)
	c.counted(c.one("a"), 5, 1)
}

func leaseLateSettle(c *trial) {
	for _, v := range []driver.Verb{driver.Retry, driver.Release, driver.Ack} {
		t := c.in(c.queue.Topic + "." + string('0'+rune(v)))
		t.accept(plain("a"))
		d := t.oneFor("a", moment/10)
		t.until(t.clock().Add(moment / 10))
		t.end(d, v)
		switch v {
		case driver.Ack:
			t.drained()
		case driver.Retry:
			t.counted(t.one("a"), 2, 1)
		case driver.Release:
			t.counted(t.one("a"), 1, 0)
		}
	}
}

func leaseLateExtend(c *trial) {
	c.accept(plain("a"))
	d := c.oneFor("a", moment/10)
	c.until(c.clock().Add(moment / 10))
	from := c.clock()
	if c.lost(d) {
		c.Error("Extend reports that the claim is lost, though nobody else claimed")
	}
	c.nextWithin(from.Add(long), c.clock().Add(long))
	c.end(d, driver.Ack)
	c.drained()
}

func leaseExtended(c *trial) {
	c.accept(plain("a"), plain("b"))
	ds := c.takeWith(2, driver.ClaimRequest{Lease: long / 2})
	from := c.clock()
	if lost := c.extend(long, ds[0].Receipt, ds[1].Receipt); lost[0] || lost[1] {
		c.Errorf("Extend reports %v as lost, want none", lost)
	}
	c.nextWithin(from.Add(long), c.clock().Add(long))
}

func leaseNotShortened(c *trial) {
	c.accept(plain("a"))
	from := c.clock()
	d := c.one("a")
	to := c.clock()
	if c.extend(moment, d.Receipt)[0] {
		c.Error("Extend reports a held claim as lost")
	}
	c.nextWithin(from.Add(long), to.Add(long))
}

func leaseLost(c *trial) {
	c.accept(plain("a"))
	stale := c.oneFor("a", moment/10)
	other := c.one("a")
	c.accept(plain("b"))
	held := c.one("b")
	unknown := driver.Receipt{ID: "never pushed", Token: held.Token}
	invented := driver.Receipt{ID: "b", Token: "invented"}
	lost := c.extend(long, held.Receipt, stale.Receipt, unknown, other.Receipt, invented)
	if want := []bool{false, true, true, false, true}; !slices.Equal(lost, want) {
		c.Errorf("Extend reports %v as lost, want %v", lost, want)
	}
}

func leaseExtendNothing(c *trial) { c.extend(long) }

func leaseKept(c *trial) {
	c.accept(plain("a"))
	d := c.oneFor("a", moment)
	if c.lost(d) {
		c.Fatal("Extend reports a held claim as lost")
	}
	c.until(c.clock().Add(moment))
	c.nothing()
	c.end(d, driver.Ack)
	c.drained()
}
