package drivertest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var delayPromises = []promise{
	{"a message is not claimed before its delay", delayRelative},
	{"a message is not claimed before its instant", delayAbsolute},
	{"of delay and instant the later counts", delayLater},
	{"a delay of a nanosecond is rounded up", delayNanosecond},
	{"messages are claimed in the order of their due times", delayOrder},
	{"a delay is kept to the resolution", delayResolution},
	{"the far future does not come", delayFarFuture},
	{"a message due sooner is claimed before one pushed earlier", delayOvertakes},
}

// dueWithin requires an instant between two others of the backend's clock, give
// or take nothing at the start and its resolution at the end.
func (c *trial) dueWithin(due, from, to time.Time) {
	c.Helper()
	if due.Before(from) {
		c.Errorf("due %v too early", from.Sub(due))
	}
	if latest := to.Add(2 * max(c.caps.Delay, time.Millisecond)); due.After(latest) {
		c.Errorf("due %v too late", due.Sub(latest))
	}
}

// notBefore claims until it has the message a, which must not be had before the
// given instant of the backend's clock, nor long before it by the test's clock.
func (c *trial) notBefore(due time.Time) driver.Delivery {
	c.Helper()
	start, left := time.Now(), due.Sub(c.clock())
	var d driver.Delivery
	c.eventually("claim of a delayed message", func() bool {
		claim := c.claim(driver.ClaimRequest{})
		if len(claim.Deliveries) == 0 {
			return false
		}
		d = claim.Deliveries[0]
		if claim.Now.Before(due) {
			c.Errorf("claimed %q %v too early", d.ID, due.Sub(claim.Now))
		}
		return true
	})
	if took := time.Since(start); took < left-left/4 {
		c.Errorf("claimed %q after %v, want no sooner than %v", d.ID, took, left)
	}
	return d
}

func delayRelative(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	from := c.clock()
	c.accept(driver.Message{ID: "a", Delay: moment})
	to := c.clock()
	d := c.notBefore(from.Add(moment))
	c.dueWithin(d.Due, from.Add(moment), to.Add(moment))
	c.counted(d, 1, 0)
}

func delayAbsolute(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	at := c.clock().Add(moment)
	c.accept(driver.Message{ID: "a", At: at})
	d := c.notBefore(at)
	c.dueWithin(d.Due, at, c.clock())
}

func delayLater(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	from := c.clock()
	c.accept(
		driver.Message{ID: "b", Delay: long, At: from.Add(moment)},
		driver.Message{ID: "c", Delay: moment, At: from.Add(long)},
		driver.Message{ID: "d", Delay: long, At: from.Add(-long)},
	)
	c.nextWithin(from.Add(long), c.clock().Add(long))
	c.accept(driver.Message{ID: "a", Delay: moment / 4, At: from.Add(moment)})
	if d := c.notBefore(from.Add(moment)); d.ID != "a" {
		c.Errorf("claimed %q, want a", d.ID)
	}
	c.nothing()
}

func delayNanosecond(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	from := c.clock()
	c.accept(driver.Message{ID: "a", Delay: 1})
	to := c.clock()
	c.dueWithin(c.one("a").Due, from.Add(1), to.Add(1))
	at := c.clock().Add(1)
	c.accept(driver.Message{ID: "b", At: at})
	c.dueWithin(c.one("b").Due, at, c.clock())
}

func delayOrder(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	step := max(c.caps.Delay, 5*time.Millisecond)
	at := c.clock().Add(step)
	var msgs []driver.Message
	for i := range 20 {
		place := i * 7 % 20 // neither the order of the pushes nor its reverse
		msgs = append(msgs, driver.Message{ID: fmt.Sprintf("%02d", place), At: at.Add(time.Duration(place) * step)})
	}
	c.accept(msgs...)
	c.until(at.Add(20 * step))
	got := c.take(7)
	for range 6 {
		got = append(got, c.take(1)...)
	}
	got = append(got, c.take(7)...)
	if !slices.IsSortedFunc(got, func(a, b driver.Delivery) int { return a.Due.Compare(b.Due) }) ||
		!slices.IsSortedFunc(got, func(a, b driver.Delivery) int { return strings.Compare(a.ID, b.ID) }) {
		c.Errorf("claimed %v, want the order of the due times", ids(got))
	}
}

func delayResolution(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	for i, delay := range []time.Duration{moment / 3, moment/3 + 1, moment/2 + 999_999, moment - 1} {
		id, from := fmt.Sprint(i), c.clock()
		c.accept(driver.Message{ID: id, Delay: delay})
		to := c.clock()
		c.dueWithin(c.one(id).Due, from.Add(delay), to.Add(delay))
	}
}

// A backend may refuse an instant that it cannot keep, but not come before it.
func delayFarFuture(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	for id, msg := range map[string]driver.Message{
		"century":  {Delay: 100 * 365 * 24 * time.Hour},
		"longest":  {Delay: math.MaxInt64},
		"year9999": {At: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"both":     {Delay: math.MaxInt64, At: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	} {
		msg.ID = id
		if err := c.push(msg)[0]; err != nil && !errors.Is(err, driver.ErrInvalid) {
			c.Errorf("Push of %s = %v, want it accepted or ErrInvalid", id, err)
		}
	}
	if claim := c.nothing(); claim.Next == 0 {
		c.Error("Claim says that more is due, want that nothing is")
	}
}

// Where a push takes longer than the delay, the message pushed first is due first:
// then the delay was too short to show anything.
func delayOvertakes(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	for delay := moment; ; delay *= 4 {
		t := c.in(c.queue.Topic + delay.String())
		from := t.clock()
		t.accept(driver.Message{ID: "b", Delay: delay})
		t.accept(plain("a"))
		short := !t.clock().Before(from.Add(delay))
		t.until(t.clock().Add(delay))
		got := ids(t.take(2))
		if got[0] == "a" {
			return
		}
		if !short {
			t.Fatalf("claimed %v, want a before b", got)
		}
	}
}

func ids(ds []driver.Delivery) []string {
	var s []string
	for _, d := range ds {
		s = append(s, d.ID)
	}
	return s
}
