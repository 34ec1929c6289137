package drivertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var listPromises = []promise{
	{"ready messages are listed by priority and due time", listReady},
	{"delayed messages are listed by due time", listDelayed},
	{"waiting messages are the ready and then the delayed", listWaiting},
	{"running messages are listed by the end of their lease", listRunning},
	{"dead messages are listed oldest first", listDead},
	{"a list has pages", listPages},
	{"a negative offset counts from the end", listFromEnd},
}

func (c *trial) list(inspector driver.Inspector, s driver.State, offset, limit int) []driver.Record {
	c.Helper()
	records, err := inspector.List(c.Context(), c.queue, s, offset, limit)
	c.must(err)
	if len(records) > limit {
		c.Errorf("List with limit %d returned %d records", limit, len(records))
	}
	for _, r := range records {
		if r.State != s && (s != driver.Waiting || r.State != driver.Ready && r.State != driver.Delayed) {
			c.Errorf("List of what is %s has %q, which is %s", s, r.ID, r.State)
		}
		if r.Queue != c.queue {
			c.Errorf("List of %q has a record of %q", c.queue, r.Queue)
		}
	}
	return records
}

// listed requires the ids of a part of a list, in their order.
func (c *trial) listed(inspector driver.Inspector, s driver.State, offset, limit int, want ...string) {
	c.Helper()
	var got []string
	for _, r := range c.list(inspector, s, offset, limit) {
		got = append(got, r.ID)
	}
	if !slices.Equal(got, want) {
		c.Errorf("List(%s, %d, %d) = %v, want %v", s, offset, limit, got, want)
	}
}

// spread pushes ready messages whose due times differ, in the order of the ids.
func (c *trial) spread(p driver.Priority, ids ...string) {
	c.Helper()
	for _, id := range ids {
		msg := plain(id)
		msg.Priority = p
		c.accept(msg)
		c.until(c.clock().Add(max(c.caps.Delay, time.Millisecond)))
	}
}

func listReady(c *trial) {
	inspector := ability[driver.Inspector](c)
	if !c.caps.Priority {
		c.spread(driver.Normal, "c", "b", "a")
		c.listed(inspector, driver.Ready, 0, 10, "c", "b", "a")
		return
	}
	c.spread(driver.Low, "low2", "low1")
	c.spread(driver.Normal, "normal2", "normal1")
	c.spread(driver.High, "high2", "high1")
	c.listed(inspector, driver.Ready, 0, 10, "high2", "high1", "normal2", "normal1", "low2", "low1")
	c.listed(inspector, driver.Waiting, 0, 10, "high2", "high1", "normal2", "normal1", "low2", "low1")
	c.listed(inspector, driver.Ready, 1, 3, "high1", "normal2", "normal1")
	c.listed(inspector, driver.Ready, -3, 2, "normal1", "low2")
}

func listDelayed(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(
		driver.Message{ID: "c", Delay: 3 * long},
		driver.Message{ID: "a", Delay: long},
		driver.Message{ID: "d", Delay: 4 * long},
		driver.Message{ID: "b", Delay: 2 * long},
	)
	c.listed(inspector, driver.Delayed, 0, 10, "a", "b", "c", "d")
	c.listed(inspector, driver.Delayed, 1, 2, "b", "c")
	c.listed(inspector, driver.Waiting, 0, 10, "a", "b", "c", "d")
	c.listed(inspector, driver.Ready, 0, 10)
}

func listWaiting(c *trial) {
	inspector := ability[driver.Inspector](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(driver.Message{ID: "later", Delay: long}, driver.Message{ID: "latest", Delay: 2 * long})
	if c.caps.Priority {
		c.accept(driver.Message{ID: "middle", Delay: 3 * long / 2, Priority: driver.High})
	} else {
		c.accept(driver.Message{ID: "middle", Delay: 3 * long / 2})
	}
	c.spread(driver.Normal, "2", "1")
	c.listed(inspector, driver.Waiting, 0, 10, "2", "1", "later", "middle", "latest")
	c.listed(inspector, driver.Waiting, 1, 2, "1", "later")
	c.listed(inspector, driver.Waiting, -4, 2, "1", "later")
	c.listed(inspector, driver.Ready, 0, 10, "2", "1")
	c.listed(inspector, driver.Running, 0, 10)
	c.listed(inspector, driver.Dead, 0, 10)
}

func listRunning(c *trial) {
	inspector := ability[driver.Inspector](c)
	for i, id := range []string{"a", "b", "c"} {
		c.accept(plain(id))
		c.oneFor(id, long*time.Duration(3-i))
	}
	c.listed(inspector, driver.Running, 0, 10, "c", "b", "a")
	c.listed(inspector, driver.Running, -1, 1, "a")
	c.listed(inspector, driver.Waiting, 0, 10)
}

func listDead(c *trial) {
	inspector := ability[driver.Inspector](c)
	for _, id := range []string{"c", "a", "b"} {
		c.accept(plain(id))
		c.end(c.one(id), driver.Bury)
		c.until(c.clock().Add(max(c.caps.Delay, time.Millisecond)))
	}
	c.listed(inspector, driver.Dead, 0, 10, "c", "a", "b")
	c.listed(inspector, driver.Dead, 1, 1, "a")
	c.listed(inspector, driver.Dead, -1, 1, "b")
}

// ten pushes messages that are ready, and returns their ids in order.
func (c *trial) ten() []string {
	c.Helper()
	var ids []string
	for i := range 10 {
		ids = append(ids, fmt.Sprint(9-i))
	}
	c.spread(driver.Normal, ids...)
	return ids
}

func listPages(c *trial) {
	inspector := ability[driver.Inspector](c)
	ids := c.ten()
	for _, size := range []int{1, 3, 10, 1000} {
		for i := 0; i < len(ids); i += size {
			c.listed(inspector, driver.Ready, i, size, ids[i:min(i+size, len(ids))]...)
		}
	}
	c.listed(inspector, driver.Ready, 10, 5)
	c.listed(inspector, driver.Ready, 1<<30, 5)
	c.listed(inspector, driver.Ready, 0, 0)
	if got := c.list(inspector, driver.Ready, 0, 1)[0]; string(got.Body) != "body of 9" {
		c.Errorf("body = %q, want that of the message", got.Body)
	}
}

func listFromEnd(c *trial) {
	inspector := ability[driver.Inspector](c)
	ids := c.ten()
	c.listed(inspector, driver.Ready, -1, 1, ids[9])
	c.listed(inspector, driver.Ready, -1, 5, ids[9])
	c.listed(inspector, driver.Ready, -3, 2, ids[7], ids[8])
	c.listed(inspector, driver.Ready, -10, 10, ids...)
}
