package drivertest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var statusPromises = []promise{
	{"status counts messages by their state", statusCounts},
	{"status counts consumers", statusConsumers},
	{"status says for how long the oldest ready message has been due", statusOldest},
	{"a topic without groups shows the default group", statusDefault},
	{"status is sorted by topic and group", statusSorted},
	{"status of no topic is that of all", statusAll},
	{"status is zero after everything ended", statusEnded},
	{"a message whose lease ran out is counted once", statusExpired},
}

// status returns that of the queue, if the broker can say.
func (c *trial) status() (driver.Status, bool) {
	c.Helper()
	inspector, ok := c.b.(driver.Inspector)
	if !ok {
		return driver.Status{}, false
	}
	all, err := inspector.Status(c.Context(), c.queue.Topic)
	c.must(err)
	for _, s := range all {
		if s.Queue == c.queue {
			return s, true
		}
		if s.Queue.Topic != c.queue.Topic {
			c.Errorf("Status of %q has %q", c.queue.Topic, s.Queue)
		}
	}
	return driver.Status{}, true
}

// shows requires the numbers of messages.
func (c *trial) shows(ready, delayed, running, dead int) {
	c.Helper()
	s, ok := c.status()
	if ok && (s.Ready != ready || s.Delayed != delayed || s.Running != running || s.Dead != dead) {
		c.Errorf("Status = %+v, want %d ready, %d delayed, %d running, %d dead", s, ready, delayed, running, dead)
	}
}

// ended requires that the queue holds nothing, as far as the broker can say.
func (c *trial) ended() {
	c.Helper()
	c.shows(0, 0, 0, 0)
	if s, ok := c.status(); ok && s.OldestDue != 0 {
		c.Errorf("oldest message due for %v, want zero without one", s.OldestDue)
	}
}

func statusCounts(c *trial) {
	ability[driver.Inspector](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.ended()
	c.spread(driver.Normal, "a", "b", "c", "d", "e", "f")
	c.shows(6, 0, 0, 0)
	c.accept(driver.Message{ID: "later", Delay: long})
	c.shows(6, 1, 0, 0)
	ds := c.take(5)
	c.shows(1, 1, 5, 0)
	c.end(ds[0], driver.Ack)
	c.shows(1, 1, 4, 0)
	c.must(c.settle(driver.Settlement{Receipt: ds[1].Receipt, Verb: driver.Retry, Delay: long}))
	c.shows(1, 2, 3, 0)
	c.end(ds[2], driver.Bury)
	c.shows(1, 2, 2, 1)
	c.end(ds[3], driver.Release)
	c.until(c.clock().Add(c.caps.Delay))
	c.shows(2, 2, 1, 1)
}

func statusConsumers(c *trial) {
	ability[driver.Inspector](c)
	c.accept(plain("a"))
	for _, name := range []string{"one", "two", "two", "three:{}*\n"} {
		c.claim(driver.ClaimRequest{Consumer: name})
	}
	c.extend(long, driver.Receipt{ID: "a", Token: "none"})
	if s, _ := c.status(); s.Consumers != 4 {
		c.Errorf("Status shows %d consumers, want 3 that claimed and 1 that extended", s.Consumers)
	}
}

func statusOldest(c *trial) {
	ability[driver.Inspector](c)
	from := c.clock()
	c.accept(plain("a"))
	to := c.clock()
	c.until(to.Add(moment / 4))
	c.accept(plain("b"))
	earliest := c.clock().Sub(to)
	s, _ := c.status()
	grain := 2 * max(c.caps.Delay, time.Millisecond)
	if latest := c.clock().Sub(from); s.OldestDue < earliest-grain || s.OldestDue > latest+grain {
		c.Errorf("oldest message due for %v, want between %v and %v", s.OldestDue, earliest, latest)
	}
}

func statusDefault(c *trial) {
	inspector := ability[driver.Inspector](c)
	alone := func() {
		c.Helper()
		all, err := inspector.Status(c.Context(), c.queue.Topic)
		c.must(err)
		if len(all) != 1 || all[0].Queue != c.queue {
			c.Errorf("Status = %+v, want the default group alone", all)
		}
	}
	alone()
	c.accept(plain("a"))
	alone()
	c.end(c.one("a"), driver.Ack)
	alone()
}

func statusSorted(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.needs(c.caps.Groups, "groups")
	var topics []string
	for _, t := range []string{"b", "a", "c"} {
		t := c.in(c.queue.Topic + t)
		topics = append(topics, t.queue.Topic)
		for _, g := range []string{"two", "one"} {
			t.group(g)
		}
	}
	all, err := inspector.Status(c.Context(), topics...)
	c.must(err)
	if len(all) != 6 || !slices.IsSortedFunc(all, byQueue) {
		c.Errorf("Status = %+v, want 6 queues sorted by topic and group", all)
	}
}

func byQueue(a, b driver.Status) int {
	if d := strings.Compare(a.Queue.Topic, b.Queue.Topic); d != 0 {
		return d
	}
	return strings.Compare(a.Queue.Group, b.Queue.Group)
}

func statusAll(c *trial) {
	inspector := ability[driver.Inspector](c)
	other := c.in(c.queue.Topic + "2")
	c.accept(plain("a"))
	other.group(driver.DefaultGroup)
	all, err := inspector.Status(c.Context())
	c.must(err)
	if !slices.IsSortedFunc(all, byQueue) {
		c.Errorf("Status = %+v, want it sorted by topic and group", all)
	}
	for _, t := range []*trial{c, other} {
		if !slices.ContainsFunc(all, func(s driver.Status) bool { return s.Queue == t.queue }) {
			c.Errorf("Status of all lacks %q", t.queue)
		}
	}
}

func statusEnded(c *trial) {
	ability[driver.Inspector](c)
	for round := range 3 {
		for _, id := range []string{"a", "b", "c"} {
			c.accept(plain(fmt.Sprint(id, round)))
		}
		ds := c.take(3)
		c.end(ds[0], driver.Retry)
		c.end(ds[1], driver.Release)
		for _, d := range append(c.take(2), ds[2]) {
			c.end(d, driver.Ack)
		}
		c.drained()
		c.ended()
	}
}

// Whether such a message is still shown as running is left open.
func statusExpired(c *trial) {
	ability[driver.Inspector](c)
	c.accept(plain("a"))
	c.oneFor("a", moment/10)
	c.until(c.clock().Add(moment / 10))
	if s, _ := c.status(); s.Ready+s.Running != 1 || s.Delayed+s.Dead != 0 {
		c.Errorf("Status = %+v, want the message ready or running", s)
	}
	d := c.one("a")
	c.shows(0, 0, 1, 0)
	c.end(d, driver.Ack)
	c.ended()
}
