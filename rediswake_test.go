package fanfare

import (
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// A consumer that waits is woken when the first of a lane is due earlier than
// before, and by one token only.
func TestRedisWakesForWhatIsEarlier(t *testing.T) {
	const hour = time.Hour
	url := testsvc.Redis(t).URL
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	settle := func(verb driver.Verb, delays ...time.Duration) func(c *redisCase, held []driver.Delivery) {
		return func(c *redisCase, held []driver.Delivery) {
			var s []driver.Settlement
			for i, d := range delays {
				s = append(s, driver.Settlement{Receipt: held[i].Receipt, Verb: verb, Delay: d})
			}
			if _, err := c.Settle(c.Context(), c.q, s); err != nil {
				c.Fatal(err)
			}
		}
	}
	push := func(how driver.Conflict, id string, delays ...time.Duration) func(c *redisCase, held []driver.Delivery) {
		return func(c *redisCase, _ []driver.Delivery) {
			var msgs []driver.Message
			for i, d := range delays {
				msgs = append(msgs, driver.Message{ID: id + string(rune('0'+i)), Delay: d, Conflict: how})
			}
			c.push(msgs...)
		}
	}
	reschedule := func(d time.Duration) func(c *redisCase, _ []driver.Delivery) {
		return func(c *redisCase, _ []driver.Delivery) {
			if ok, err := c.Reschedule(c.Context(), c.q.Topic, "late0", in(d)); !ok || err != nil {
				c.Fatal(ok, err)
			}
		}
	}
	for name, tt := range map[string]struct {
		act  func(c *redisCase, held []driver.Delivery)
		want int64
	}{
		"push earlier":          {push(driver.KeepFirst, "new", 0), 1},
		"push later":            {push(driver.KeepFirst, "new", 2*hour), 0},
		"push later, earlier":   {push(driver.KeepFirst, "new", 4*hour, 0), 1},
		"push earlier, later":   {push(driver.KeepFirst, "new", 0, 4*hour), 1},
		"push anew, earlier":    {push(driver.Replace, "new", 0), 1},
		"push anew, later":      {push(driver.PushBack, "new", 2*hour), 0},
		"replace earlier":       {push(driver.Replace, "late", 0), 1},
		"replace later":         {push(driver.Replace, "late", 4*hour), 0},
		"push back earlier":     {push(driver.PushBack, "late", 0), 1},
		"push back later":       {push(driver.PushBack, "late", 4*hour), 0},
		"reschedule earlier":    {reschedule(0), 1},
		"reschedule later":      {reschedule(4 * hour), 0},
		"retry now":             {settle(driver.Retry, 0), 1},
		"retry later":           {settle(driver.Retry, 2*hour), 0},
		"retry later, now":      {settle(driver.Retry, 4*hour, 0), 1},
		"retry now, later":      {settle(driver.Retry, 0, 4*hour), 1},
		"release now":           {settle(driver.Release, 0), 1},
		"release later":         {settle(driver.Release, 2*hour), 0},
		"ack":                   {settle(driver.Ack, 0, 0), 0},
		"bury":                  {settle(driver.Bury, 0, 0), 0},
		"bury and then requeue": {buryAndRequeue, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, before := range []int{0, 1} { // tokens
				c := newCase(t, url)
				c.push(message("held0"), message("held1"))
				held := c.claim(2)
				c.push(driver.Message{ID: "head", Delay: hour}, driver.Message{ID: "late0", Delay: 3 * hour})
				c.do("DEL", c.keys().wake)
				if before > 0 {
					c.do("LPUSH", c.keys().wake, "1")
				}
				tt.act(c, held)
				if got, want := c.do("LLEN", c.keys().wake), max(tt.want, int64(before)); got != want {
					t.Errorf("%d tokens after it, want %d; there were %d", got, want, before)
				}
			}
		})
	}
}

// buryAndRequeue lets a message wait again, and its lane has none that is earlier.
func buryAndRequeue(c *redisCase, held []driver.Delivery) {
	c.settleAs(driver.Bury, held[0])
	if _, err := c.Requeue(c.Context(), c.q, held[0].ID); err != nil {
		c.Fatal(err)
	}
}
