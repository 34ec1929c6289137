package fanfare

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// What the scripts make of what is recorded of a message, and without it.

// buried returns a case with the dead letter a, of high priority.
func buried(t *testing.T) *redisCase {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(driver.Message{ID: "a", Priority: driver.High, Body: []byte("body of a")})
	c.settleAs(driver.Bury, c.claim(1)...)
	return c
}

func (c *redisCase) requeued(id string, want error) {
	c.Helper()
	errs, err := c.Requeue(c.Context(), c.q, id)
	if err != nil || !errors.Is(errs[0], want) {
		c.Fatalf("Requeue = %v, %v, want %v", errs, err, want)
	}
}

func (c *redisCase) one(id string, p driver.Priority) driver.Delivery {
	c.Helper()
	ds := c.claim(2)
	if len(ds) != 1 || ds[0].ID != id || ds[0].Priority != p {
		c.Fatalf("claimed %+v, want %s of priority %d", ds, id, p)
	}
	return ds[0]
}

func TestRedisRequeueKeepsPriorityAndFence(t *testing.T) {
	c := buried(t)
	info := newRedisReply([]any{c.do("HGET", c.keys().deadInfo, "a")}).text()
	part := strings.SplitN(info, ":", 5)
	part[3] = "9000000000000000" // a fence of a clock that is ahead
	c.do("HSET", c.keys().deadInfo, "a", strings.Join(part, ":"))
	c.requeued("a", nil)
	if d := c.one("a", driver.High); d.Fence <= 9e15 {
		t.Errorf("fence = %d, want it to grow", d.Fence)
	}
}

func TestRedisRequeueWithoutARecord(t *testing.T) {
	c := buried(t)
	c.do("HDEL", c.keys().deadInfo, "a")
	c.requeued("a", nil)
	c.one("a", driver.Normal)
}

func TestRedisRequeueOfNothingWakesNobody(t *testing.T) {
	c := buried(t)
	c.do("DEL", c.keys().wake)
	c.requeued("b", driver.ErrNotFound)
	if n := c.do("LLEN", c.keys().wake); n != int64(0) {
		t.Errorf("%v tokens after a Requeue of nothing, want none", n)
	}
	c.requeued("a", nil)
	if n := c.do("LLEN", c.keys().wake); n != int64(1) {
		t.Errorf("%v tokens after a Requeue, want one", n)
	}
}

// A message whose lease ran out waits, though it is among the leases.
func TestRedisRescheduleAfterALease(t *testing.T) {
	for p, lost := range map[driver.Priority]bool{driver.High: false, driver.Low: false, driver.Normal: true} {
		c := newCase(t, testsvc.Redis(t).URL)
		c.push(driver.Message{ID: "a", Priority: p})
		c.claimFor(1, time.Microsecond)
		if lost {
			c.do("HDEL", c.keys().states, "a")
		}
		at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
		if ok, err := c.Reschedule(t.Context(), c.q.Topic, "a", at); !ok || err != nil {
			t.Fatal(ok, err)
		}
		r, err := c.Get(t.Context(), c.q, "a")
		if err != nil || r.State != driver.Delayed || !r.Time.Equal(at) || r.Priority != p {
			t.Errorf("Get = %+v, %v, want it delayed until %v with priority %d", r, err, at, p)
		}
		c.consistent("Reschedule")
	}
}

func TestRedisRescheduleOfWhatIsKept(t *testing.T) {
	s := testsvc.StartRedis(t)
	c := newCase(t, s.URL)
	c.push(message("a"))
	running := c.claim(1)[0]
	c.push(driver.Message{ID: "a", Conflict: driver.RunAgain, Priority: driver.Low, Body: []byte("again")})
	c.do("CONFIG", "SET", "maxmemory", "1") // what frees no memory is refused, unless something freed comes first
	at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	if ok, err := c.Reschedule(t.Context(), c.q.Topic, "a", at); !ok || err != nil {
		t.Fatal(ok, err)
	}
	c.do("CONFIG", "SET", "maxmemory", "0")
	c.ack(running)
	r, err := c.Get(t.Context(), c.q, "a")
	if err != nil || r.State != driver.Delayed || !r.Time.Equal(at) || r.Priority != driver.Low || string(r.Body) != "again" {
		t.Errorf("Get = %+v, %v, want what was kept, delayed until %v", r, err, at)
	}

	c.push(message("b"))
	c.claim(1)
	c.do("HSET", c.keys().kept, "b", "garbage")
	if ok, err := c.Reschedule(t.Context(), c.q.Topic, "b", at); ok || err != nil {
		t.Errorf("Reschedule of garbage = %v, %v, want that there is nothing", ok, err)
	}
}
