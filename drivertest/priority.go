package drivertest

import (
	"fmt"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

var priorityPromises = []promise{
	{"a batch is weighted", func(c *trial) { priorityWeights(c, 10) }},
	{"many claims of one are weighted", func(c *trial) { priorityWeights(c, 1) }},
	{"low is not starved", priorityLow},
	{"turns that one priority does not use go to others", priorityAlone},
	{"messages of one priority keep their order", priorityOrder},
	{"a message has the priority it was pushed with", prioritySaid},
}

var priorities = []driver.Priority{driver.Low, driver.Normal, driver.High}

// priorityWeights claims 100 messages where there are enough of each priority,
// and allows for brokers that deal the turns at random.
func priorityWeights(c *trial, limit int) {
	c.needs(c.caps.Priority, "priorities")
	var msgs []driver.Message
	for i := range 100 {
		for _, p := range priorities {
			msgs = append(msgs, driver.Message{ID: fmt.Sprint(i, p), Priority: p})
		}
	}
	c.accept(msgs...)
	c.until(c.clock().Add(c.caps.Delay))
	count := map[driver.Priority]int{}
	for n := 0; n < 100; n += limit {
		for _, d := range c.take(limit) {
			count[d.Priority]++
		}
	}
	for p, want := range map[driver.Priority]int{driver.High: 60, driver.Normal: 30, driver.Low: 10} {
		if off := max(want/3, 8); count[p] < want-off || count[p] > want+off {
			c.Errorf("of 100 messages claimed %d have priority %d, want about %d", count[p], p, want)
		}
	}
}

func priorityLow(c *trial) {
	c.needs(c.caps.Priority, "priorities")
	c.accept(driver.Message{ID: "low", Priority: driver.Low})
	c.until(c.clock().Add(c.caps.Delay))
	for i := range 60 {
		c.accept(driver.Message{ID: fmt.Sprint(i), Priority: driver.High})
		if d := c.take(1)[0]; d.ID == "low" {
			return
		}
	}
	c.Error("a low message was not claimed while 60 high ones were")
}

func priorityAlone(c *trial) {
	c.needs(c.caps.Priority, "priorities")
	for _, p := range priorities {
		t := c.in(fmt.Sprint(c.queue.Topic, p))
		for i := range 15 {
			t.accept(driver.Message{ID: fmt.Sprint(i), Priority: p})
		}
		t.take(1)
		t.take(14)
		t.drainedExcept(15)
	}
}

// drainedExcept requires that n messages run and nothing waits.
func (c *trial) drainedExcept(n int) {
	c.Helper()
	c.nothing()
	if s, ok := c.status(); ok && (s.Running != n || s.Ready+s.Delayed != 0) {
		c.Errorf("Status = %+v, want %d running alone", s, n)
	}
}

// Messages that became due at one instant of the backend's clock have no order.
func priorityOrder(c *trial) {
	c.needs(c.caps.Priority, "priorities")
	for i := range 30 {
		c.accept(driver.Message{ID: fmt.Sprintf("%02d", i), Priority: priorities[i%3]})
	}
	c.until(c.clock().Add(c.caps.Delay))
	last := map[driver.Priority]driver.Delivery{}
	for range 30 {
		d := c.take(1)[0]
		if l := last[d.Priority]; d.Due.After(l.Due) && strings.Compare(d.ID, l.ID) < 0 || d.Due.Before(l.Due) {
			c.Errorf("claimed %q after %q, both of priority %d", d.ID, l.ID, d.Priority)
		}
		last[d.Priority] = d
	}
}

func prioritySaid(c *trial) {
	c.needs(c.caps.Priority, "priorities")
	for _, p := range priorities {
		c.accept(driver.Message{ID: fmt.Sprint(p), Priority: p})
	}
	for _, d := range c.take(3) {
		if fmt.Sprint(d.Priority) != d.ID {
			c.Errorf("message pushed with priority %s is delivered with %d", d.ID, d.Priority)
		}
	}
}
