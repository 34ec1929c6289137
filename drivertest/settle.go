package drivertest

import (
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var settlePromises = []promise{
	{"ack removes the message", settleAck},
	{"retry lets it wait and counts a failure", settleRetry},
	{"retry is not early", settleRetryDelay},
	{"retry waits until its instant", settleRetryAt},
	{"of the delay and the instant of a retry the later counts", settleRetryLater},
	{"release does not count the attempt", settleRelease},
	{"release is due after its delay", settleReleaseDelay},
	{"release keeps what was counted before", settleReleaseKeeps},
	{"bury takes the message out of the queue", settleBury},
	{"a settlement that is repeated is settled", settleRepeated},
	{"a claim that was ended cannot be ended in another way", settleEnded},
	{"a claim settled twice in one batch is settled once", settleTwice},
	{"each settlement has its own outcome", settleOutcomes},
	{"settling nothing is no error", settleNothing},
	{"priority and body outlive a retry", settleKeeps},
}

func settleAck(c *trial) {
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Ack)
	c.drained()
	c.ended()
}

func settleRetry(c *trial) {
	c.accept(plain("a"))
	for n := range 3 {
		d := c.body("a", "body of a")
		c.counted(d, n+1, n)
		c.end(d, driver.Retry)
	}
}

// giveBack claims a and settles it, and returns when that was.
func (c *trial) giveBack(s driver.Settlement) (from, to time.Time) {
	c.Helper()
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(plain("a"))
	s.Receipt = c.one("a").Receipt
	from = c.clock()
	if !s.At.IsZero() {
		s.At = from.Add(s.At.Sub(epoch))
	}
	c.must(c.settle(s))
	return from, c.clock()
}

// epoch stands for now in the instants that giveBack is given.
var epoch = time.Unix(0, 0)

func settleRetryDelay(c *trial) {
	from, to := c.giveBack(driver.Settlement{Verb: driver.Retry, Delay: moment})
	d := c.notBefore(from.Add(moment))
	c.dueWithin(d.Due, from.Add(moment), to.Add(moment))
	c.counted(d, 2, 1)
}

func settleRetryAt(c *trial) {
	from, to := c.giveBack(driver.Settlement{Verb: driver.Retry, At: epoch.Add(moment)})
	d := c.notBefore(from.Add(moment))
	c.dueWithin(d.Due, from.Add(moment), to.Add(moment))
	c.counted(d, 2, 1)
}

func settleRetryLater(c *trial) {
	for i, s := range []driver.Settlement{
		{Verb: driver.Retry, Delay: long, At: epoch.Add(moment)},
		{Verb: driver.Retry, Delay: moment, At: epoch.Add(long)},
		{Verb: driver.Retry, Delay: long, At: epoch.Add(-long)},
		{Verb: driver.Release, Delay: long, At: epoch.Add(moment)},
		{Verb: driver.Release, Delay: moment, At: epoch.Add(long)},
	} {
		t := c.in(fmt.Sprint(c.queue.Topic, i))
		from, to := t.giveBack(s)
		t.nextWithin(from.Add(long), to.Add(long))
	}
}

func settleRelease(c *trial) {
	c.accept(plain("a"))
	for range 3 {
		d := c.body("a", "body of a")
		c.counted(d, 1, 0)
		c.end(d, driver.Release)
	}
	c.one("a")
	c.nothing()
}

func settleReleaseDelay(c *trial) {
	from, to := c.giveBack(driver.Settlement{Verb: driver.Release, Delay: moment})
	d := c.notBefore(from.Add(moment))
	c.dueWithin(d.Due, from.Add(moment), to.Add(moment))
	c.counted(d, 1, 0)
}

func settleReleaseKeeps(c *trial) {
	c.accept(plain("a"))
	c.oneFor("a", moment/10)
	c.end(c.one("a"), driver.Retry)
	for range 2 {
		d := c.one("a")
		c.counted(d, 3, 1)
		c.end(d, driver.Release)
	}
}

func settleBury(c *trial) {
	c.accept(plain("a"), plain("b"))
	for _, d := range c.take(2) {
		if d.ID == "a" {
			c.must(c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Bury, Reason: "exhausted", Error: "no"}))
		} else {
			c.end(d, driver.Ack)
		}
	}
	c.drained()
}

func settleRepeated(c *trial) {
	for v, after := range map[driver.Verb]func(t *trial){
		driver.Ack:     (*trial).drained,
		driver.Bury:    (*trial).drained,
		driver.Retry:   func(t *trial) { t.counted(t.one("a"), 3, 2) },
		driver.Release: func(t *trial) { t.counted(t.one("a"), 2, 1) },
	} {
		t := c.in(fmt.Sprint(c.queue.Topic, v))
		t.accept(plain("a"))
		t.end(t.one("a"), driver.Retry)
		s := driver.Settlement{Receipt: t.one("a").Receipt, Verb: v}
		for n := range 3 {
			if err := t.settle(s); err != nil {
				t.Errorf("Settle with verb %d, time %d = %v, want it settled", v, n+1, err)
			}
		}
		after(t)
	}
}

func settleEnded(c *trial) {
	for _, first := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		for _, second := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
			t := c.in(fmt.Sprint(c.queue.Topic, first, ".", second))
			t.accept(plain("a"))
			d := t.one("a")
			t.end(d, first)
			t.settle(driver.Settlement{Receipt: d.Receipt, Verb: second, Delay: long})
			switch first {
			case driver.Ack, driver.Bury:
				t.drained()
			case driver.Retry:
				t.counted(t.one("a"), 2, 1)
			case driver.Release:
				t.counted(t.one("a"), 1, 0)
			}
		}
	}
}

func settleTwice(c *trial) {
	c.accept(plain("a"))
	s := driver.Settlement{Receipt: c.one("a").Receipt, Verb: driver.Retry}
	c.must(errors.Join(c.settleAll(s, s)...))
	c.counted(c.one("a"), 2, 1)
	c.nothing()
}

func settleOutcomes(c *trial) {
	stale, valid := c.overtaken()
	c.accept(plain("b"))
	b := c.one("b")
	c.accept(plain("c"))
	third := c.one("c")
	outcomes := c.settleAll(
		driver.Settlement{Receipt: b.Receipt, Verb: driver.Ack},
		driver.Settlement{Receipt: stale.Receipt, Verb: driver.Ack},
		driver.Settlement{Receipt: third.Receipt, Verb: driver.Retry},
		driver.Settlement{Receipt: valid.Receipt, Verb: driver.Bury},
	)
	for i, want := range []error{nil, driver.ErrLeaseLost, nil, nil} {
		if !errors.Is(outcomes[i], want) {
			c.Errorf("outcome %d = %v, want %v", i, outcomes[i], want)
		}
	}
	c.counted(c.one("c"), 2, 1)
	c.nothing()
}

func settleNothing(c *trial) { c.settleAll() }

func settleKeeps(c *trial) {
	c.needs(c.caps.Priority, "priorities")
	for _, v := range []driver.Verb{driver.Retry, driver.Release} {
		t := c.in(fmt.Sprint(c.queue.Topic, v))
		t.accept(driver.Message{ID: "a", Body: []byte("x"), Priority: driver.Low})
		t.end(t.one("a"), v)
		if d := t.body("a", "x"); d.Priority != driver.Low {
			t.Errorf("priority after verb %d = %d, want Low", v, d.Priority)
		}
	}
}
