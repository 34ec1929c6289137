package drivertest

import (
	"errors"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

var deadPromises = []promise{
	{"a buried message is a dead letter", deadBuried},
	{"a dead letter is not claimed", deadNotClaimed},
	{"requeue lets a dead letter wait again with its counters at zero", deadRequeued},
	{"requeue lets a dead letter wait again now", deadRequeuedNow},
	{"requeue keeps the priority", deadRequeuedPriority},
	{"requeue has an outcome for each", deadOutcomes},
	{"requeue is for one group", deadGroups},
	{"what waits or runs is not requeued", deadRequeueLiving},
	{"delete dead removes dead letters and counts them", deadDeleted},
	{"delete dead leaves what lives", deadDeleteLiving},
	{"a requeued message can be buried again", deadAgain},
}

// bury claims the next message and buries it.
func bury(c *trial, reason string) driver.Delivery {
	c.Helper()
	d := c.take(1)[0]
	c.must(c.settle(driver.Settlement{Receipt: d.Receipt, Verb: driver.Bury, Reason: reason, Error: "error of " + reason}))
	return d
}

// requeue requires that dead letters wait again.
func (c *trial) requeue(letters driver.DeadLetters, ids ...string) {
	c.Helper()
	outcomes, err := letters.Requeue(c.Context(), c.queue, ids...)
	c.must(err)
	if len(outcomes) != len(ids) {
		c.Fatalf("Requeue of %d messages returned %d outcomes", len(ids), len(outcomes))
	}
	c.must(errors.Join(outcomes...))
}

func deadBuried(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.accept(plain("a"))
	c.end(c.one("a"), driver.Retry)
	bury(c, "exhausted")
	records := c.list(inspector, driver.Dead, 0, 10)
	if len(records) != 1 {
		c.Fatalf("dead letters = %+v, want one", records)
	}
	r := records[0]
	c.recorded(r, 2, 2)
	if r.ID != "a" || string(r.Body) != "body of a" || r.Reason != "exhausted" || r.LastError != "error of exhausted" {
		c.Errorf("dead letter = %+v, want a with its body, reason and error", r)
	}
}

func deadNotClaimed(c *trial) {
	c.accept(plain("a"))
	bury(c, "broken")
	c.drained()
	c.shows(0, 0, 0, 1)
}

func deadRequeued(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.accept(plain("a"))
	c.oneFor("a", moment/10)
	c.end(c.one("a"), driver.Retry)
	bury(c, "broken")
	c.requeue(letters, "a")
	c.shows(1, 0, 0, 0)
	d := c.body("a", "body of a")
	c.counted(d, 1, 0)
	c.end(d, driver.Retry)
	c.counted(c.one("a"), 2, 1)
	c.nothing()
}

func deadRequeuedNow(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.accept(plain("a"))
	bury(c, "broken")
	from := c.clock()
	c.requeue(letters, "a")
	to := c.clock()
	c.dueWithin(c.one("a").Due, from, to)
}

func deadRequeuedPriority(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.needs(c.caps.Priority, "priorities")
	c.accept(driver.Message{ID: "a", Priority: driver.Low})
	bury(c, "broken")
	c.requeue(letters, "a")
	if d := c.one("a"); d.Priority != driver.Low {
		c.Errorf("priority = %d, want Low", d.Priority)
	}
}

func deadOutcomes(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.accept(plain("a"), plain("b"))
	bury(c, "broken")
	bury(c, "broken")
	outcomes, err := letters.Requeue(c.Context(), c.queue, "a", "unknown", "b", "a")
	c.must(err)
	if len(outcomes) != 4 {
		c.Fatalf("Requeue of 4 messages returned %d outcomes", len(outcomes))
	}
	c.must(errors.Join(outcomes[0], outcomes[2]))
	c.wants(driver.ErrNotFound, outcomes[1], "Requeue of an unknown message")
	if outcomes[3] == nil {
		c.Error("Requeue of a message that was requeued = nil, want an error")
	}
	c.requeue(letters)
	c.take(2)
	c.nothing()
}

func deadGroups(c *trial) {
	letters := ability[driver.DeadLetters](c)
	one, two := c.groups()
	c.accept(plain("a"))
	bury(one, "broken")
	bury(two, "broken")
	one.requeue(letters, "a")
	one.counted(one.one("a"), 1, 0)
	two.drained()
	two.shows(0, 0, 0, 1)
}

func deadRequeueLiving(c *trial) {
	letters := ability[driver.DeadLetters](c)
	refused := func() {
		c.Helper()
		outcomes, err := letters.Requeue(c.Context(), c.queue, "a")
		c.must(err)
		if len(outcomes) != 1 || outcomes[0] == nil {
			c.Errorf("Requeue of a living message = %v, want an error", outcomes)
		}
	}
	c.accept(plain("a"))
	refused()
	d := c.one("a")
	refused()
	c.untouched(d)
}

func deadDeleted(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.accept(plain("a"), plain("b"), plain("c"))
	for range 3 {
		bury(c, "broken")
	}
	for _, tt := range []struct {
		ids  []string
		want int
	}{{[]string{"a", "unknown", "b"}, 2}, {[]string{"a"}, 0}, {nil, 0}} {
		n, err := letters.DeleteDead(c.Context(), c.queue, tt.ids...)
		c.must(err)
		if n != tt.want {
			c.Errorf("DeleteDead(%v) = %d, want %d", tt.ids, n, tt.want)
		}
	}
	c.shows(0, 0, 0, 1)
	outcomes, err := letters.Requeue(c.Context(), c.queue, "a")
	c.must(err)
	c.wants(driver.ErrNotFound, outcomes[0], "Requeue of a deleted message")
	c.requeue(letters, "c")
}

func deadDeleteLiving(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.accept(plain("a"), plain("b"))
	running := c.take(1)[0]
	n, err := letters.DeleteDead(c.Context(), c.queue, "a", "b")
	c.must(err)
	if n != 0 {
		c.Errorf("DeleteDead of living messages = %d, want 0", n)
	}
	c.take(1)
	c.end(running, driver.Ack)
}

func deadAgain(c *trial) {
	letters, inspector := ability[driver.DeadLetters](c), ability[driver.Inspector](c)
	c.accept(plain("a"))
	for i := range 3 {
		reason := fmt.Sprint("reason", i)
		bury(c, reason)
		records := c.list(inspector, driver.Dead, 0, 10)
		if len(records) != 1 || records[0].Reason != reason || records[0].Attempts != 1 {
			c.Errorf("dead letters = %+v, want one at attempt 1 with %q", records, reason)
		}
		c.requeue(letters, "a")
	}
	c.body("a", "body of a")
	c.listed(inspector, driver.Dead, 0, 10)
}
