package drivertest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var pushPromises = []promise{
	{"an accepted message can be claimed", pushAccepted},
	{"zero values mean now and normal priority", pushZeroValues},
	{"an instant in the past means now", pushPast},
	{"each message has its own outcome", pushOutcomes},
	{"an empty batch is no error", pushEmpty},
	{"a batch of many is stored whole", pushMany},
	{"a body over the limit is too large", pushTooLarge},
	{"what the broker does not honour is unsupported", pushUnsupported},
}

func pushAccepted(c *trial) {
	c.accept(plain("a"))
	d := c.body("a", "body of a")
	c.counted(d, 1, 0)
	if d.Token == "" {
		c.Error("the claim has no token")
	}
	c.nothing()
}

func pushZeroValues(c *trial) {
	from := c.clock()
	c.accept(driver.Message{ID: "a"})
	to := c.clock()
	d := c.one("a")
	c.dueWithin(d.Due, from, to)
	if d.Priority != driver.Normal {
		c.Errorf("priority = %d, want Normal", d.Priority)
	}
	if len(d.Body) != 0 {
		c.Errorf("body = %q, want none", d.Body)
	}
}

func pushPast(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	from := c.clock()
	c.accept(
		driver.Message{ID: "a", At: from.Add(-long)},
		driver.Message{ID: "b", At: time.Unix(1, 0)},
		driver.Message{ID: "c", Delay: -long},
	)
	to := c.clock()
	for _, d := range c.take(3) {
		c.dueWithin(d.Due, from, to)
	}
}

func pushOutcomes(c *trial) {
	outcomes := c.push(
		plain("a"),
		plain(""),
		plain("b"),
		plain(strings.Repeat("x", driver.MaxName+1)),
		plain("not \xff UTF-8"),
		plain("c"),
	)
	for i, want := range []error{nil, driver.ErrInvalid, nil, driver.ErrInvalid, driver.ErrInvalid, nil} {
		if !errors.Is(outcomes[i], want) {
			c.Errorf("outcome %d = %v, want %v", i, outcomes[i], want)
		}
	}
	got := map[string]bool{}
	for _, d := range c.take(3) {
		got[d.ID] = true
	}
	if !got["a"] || !got["b"] || !got["c"] {
		c.Errorf("claimed %v, want a, b and c", got)
	}
	c.nothing()
}

func pushEmpty(c *trial) {
	c.push()
	c.drained()
}

func pushMany(c *trial) {
	var msgs []driver.Message
	for i := range 1000 {
		msgs = append(msgs, plain(fmt.Sprint(i)))
	}
	c.accept(msgs...)
	seen := map[string]bool{}
	for _, d := range c.take(len(msgs)) {
		if seen[d.ID] || string(d.Body) != "body of "+d.ID {
			c.Errorf("claimed %q, seen before: %t, body %q", d.ID, seen[d.ID], d.Body)
		}
		seen[d.ID] = true
	}
	c.nothing()
}

func pushTooLarge(c *trial) {
	most := c.caps.MaxBody
	c.needs(most > 0, "limit of bodies")
	c.needs(most <= 16<<20, "limit of bodies small enough to test")
	c.refuse(driver.Message{ID: "a", Body: make([]byte, most+1)}, driver.ErrTooLarge)
	c.nothing()
	c.accept(driver.Message{ID: "a", Body: make([]byte, most)})
	if d := c.one("a"); len(d.Body) != most {
		c.Errorf("body of %d bytes, want %d", len(d.Body), most)
	}
}

func pushUnsupported(c *trial) {
	for _, tt := range []struct {
		honours bool
		msg     driver.Message
	}{
		{c.caps.Delay > 0, driver.Message{ID: "a", Delay: long}},
		{c.caps.Delay > 0, driver.Message{ID: "a", At: c.clock().Add(long)}},
		{c.caps.Priority, driver.Message{ID: "a", Priority: driver.High}},
		{c.caps.Priority, driver.Message{ID: "a", Priority: driver.Low}},
		{c.caps.Conflict, driver.Message{ID: "a", Conflict: driver.Replace}},
		{c.caps.Conflict, driver.Message{ID: "a", Conflict: driver.PushBack}},
		{c.caps.Conflict, driver.Message{ID: "a", Conflict: driver.RunAgain}},
	} {
		if !tt.honours {
			c.refuse(tt.msg, driver.ErrUnsupported)
		}
	}
	c.drained()
	if !c.caps.Groups {
		q := driver.Queue{Topic: c.queue.Topic, Group: "another"}
		c.wants(driver.ErrUnsupported, c.b.Subscribe(c.Context(), q), "Subscribe of a group")
	}
	c.must(c.b.Subscribe(c.Context(), c.queue))
}
