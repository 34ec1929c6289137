package fanfare

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// expire claims a message for so short a time that its lease has run out.
func (c *redisCase) expire(id string) driver.Delivery {
	c.Helper()
	ds := c.claimFor(1, time.Microsecond).Deliveries
	if len(ds) != 1 || ds[0].ID != id {
		c.Fatalf("claimed %v, want %s", ids(ds), id)
	}
	<-time.After(time.Millisecond)
	return ds[0]
}

func (c *redisCase) settle1(d driver.Delivery, v driver.Verb) error {
	c.Helper()
	outcomes, err := c.Settle(c.Context(), c.q, []driver.Settlement{{Receipt: d.Receipt, Verb: v}})
	if err != nil {
		c.Fatal(err)
	}
	return outcomes[0]
}

func TestRedisFenceGrowsWhenTheClockFallsBack(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("a"))
	future := time.Now().Add(time.Hour).UnixMicro()
	c.do("HSET", c.keys().states, "a", fmt.Sprint(future, "::3:2:1:5"))
	d := c.claim(1)[0]
	if d.Fence != future+1 || d.Attempt != 4 || d.Failures != 2 {
		t.Errorf("claimed %+v, want fence %d, attempt 4 and 2 failures", d, future+1)
	}
}

func TestRedisClaimPassesTheToken(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("a"), message("b"))
	wait := func() time.Duration {
		t.Helper()
		start := time.Now()
		if err := c.Wait(t.Context(), c.q, 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	if d := wait(); d > 200*time.Millisecond {
		t.Errorf("a Push woke nobody for %v", d)
	}
	c.claim(1)
	if d := wait(); d > 200*time.Millisecond {
		t.Errorf("a Claim that left a message woke nobody for %v", d)
	}
	c.claim(1)
	if d := wait(); d < 250*time.Millisecond {
		t.Errorf("a Claim that left nothing woke somebody after %v", d)
	}
}

func TestRedisSettlesOneClaimOnce(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("a"))
	r := c.claim(1)[0].Receipt
	outcomes, err := c.Settle(t.Context(), c.q, []driver.Settlement{{Receipt: r}, {Receipt: r, Verb: driver.Bury}, {Receipt: r}})
	if err := errors.Join(append(outcomes, err)...); err != nil {
		t.Error(err)
	}
	if s, err := c.Status(t.Context(), c.q.Topic); err != nil || s[0].Dead+s[0].Running+s[0].Ready != 0 {
		t.Errorf("Status = %+v, %v, want nothing left", s, err)
	}
}

func TestRedisSettlesAClaimThatWasGivenBack(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	for _, v := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		id := fmt.Sprint("verb ", v)
		c.push(message("other "+id), driver.Message{ID: id, Delay: time.Millisecond, Priority: driver.Low})
		<-time.After(2 * time.Millisecond)
		ds := c.claimFor(2, time.Microsecond).Deliveries
		<-time.After(time.Millisecond)
		c.ack(c.claim(1)...) // gives both back, and takes the other
		if err := c.settle1(ds[1], v); err != nil {
			t.Errorf("verb %d: %v", v, err)
		}
		c.consistent(id)
		if n := c.do("ZCARD", c.keys().lanes[2]); (n == int64(0)) != (v == driver.Ack || v == driver.Bury) {
			t.Errorf("verb %d leaves %d ids in the lane", v, n)
		}
		again := ids(c.claim(10))
		if want := v == driver.Retry || v == driver.Release; slices.Equal(again, []string{id}) != want || len(again) > 1 {
			t.Errorf("verb %d: claimed %v", v, again)
		}
	}
}

// The rarer ways of the scripts also read before they write.
func TestRedisRefusesForeignKeysOnRareWays(t *testing.T) {
	for name, rare := range map[string]func(c *redisCase) (key string, call func() error){
		"extend what was given back": func(c *redisCase) (string, func() error) {
			d := c.givenBack()
			return c.keys().lanes[2], func() error {
				_, err := c.Extend(t.Context(), c.q, "", time.Minute, []driver.Receipt{d.Receipt})
				return err
			}
		},
		"settle what was given back": func(c *redisCase) (string, func() error) {
			d := c.givenBack()
			return c.keys().lanes[2], func() error {
				_, err := c.Settle(t.Context(), c.q, []driver.Settlement{{Receipt: d.Receipt}})
				return err
			}
		},
		"claim an orphan": func(c *redisCase) (string, func() error) {
			c.push(message("a"))
			c.do("HDEL", c.keys().bodies, "a")
			return c.keys().kept, func() error {
				_, err := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
				return err
			}
		},
		"reclaim": func(c *redisCase) (string, func() error) {
			c.push(message("a"))
			c.expire("a")
			return c.keys().wake, func() error {
				_, err := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCase(t, testsvc.Redis(t).URL)
			key, call := rare(c)
			c.do("EVAL", "redis.call('LTRIM', KEYS[1], 1, 0)", 1, c.keys().wake)
			c.do("SET", key, "foreign")
			before := c.dump()
			if err := call(); err == nil || c.dump() != before {
				t.Errorf("err = %v, want WRONGTYPE and nothing changed", err)
			}
		})
	}
}

// givenBack returns a claim of a message that waits again in the first lane,
// since its lease ran out.
func (c *redisCase) givenBack() driver.Delivery {
	c.Helper()
	c.push(driver.Message{ID: "other", Priority: driver.High})
	c.push(driver.Message{ID: "a", Priority: driver.High})
	ds := c.claimFor(2, time.Microsecond).Deliveries
	<-time.After(time.Millisecond)
	c.ack(c.claim(1)...)
	return ds[1]
}

// Whoever acts on a message that waits again takes it from a holder that is late.
func TestRedisLateHolders(t *testing.T) {
	for name, act := range map[string]func(c *redisCase) error{
		"reschedule": func(c *redisCase) error {
			ok, err := c.Reschedule(c.Context(), c.q.Topic, "a", time.Unix(1, 0))
			if !ok {
				c.Error("Reschedule of an expired claim = false")
			}
			return err
		},
		"replace":   func(c *redisCase) error { return c.outcomes(driver.Message{ID: "a", Conflict: driver.Replace})[0] },
		"push back": func(c *redisCase) error { return c.outcomes(driver.Message{ID: "a", Conflict: driver.PushBack})[0] },
		"cancel": func(c *redisCase) error {
			ok, err := c.Cancel(c.Context(), c.q.Topic, "a")
			if !ok {
				c.Error("Cancel of an expired claim = false")
			}
			c.push(message("a"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCase(t, testsvc.Redis(t).URL)
			c.push(driver.Message{ID: "a", Priority: driver.High})
			late := c.expire("a")
			if err := act(c); err != nil {
				t.Error(err)
			}
			c.consistent(name)
			if err := c.settle1(late, driver.Ack); !errors.Is(err, driver.ErrLeaseLost) {
				t.Errorf("late Ack = %v, want ErrLeaseLost", err)
			}
			ds := c.claim(10)
			if len(ds) != 1 || ds[0].ID != "a" || ds[0].Due.Before(late.Due) {
				t.Errorf("claimed %+v, want a, due not before %v", ds, late.Due)
			}
		})
	}
}

func TestRedisRunAgainMeetsAnother(t *testing.T) {
	c, cut := newCutCase(t)
	again := message("a")
	again.Conflict = driver.RunAgain
	c.push(again)
	running := c.claim(1)[0]
	other := driver.Message{ID: "a", Conflict: driver.RunAgain, Body: []byte("other")}
	c.push(other)
	cut.after = 1
	if err := c.outcomes(again)[0]; !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("repeated Push while another is kept = %v, want ErrDuplicate", err)
	}
	c.settleAs(driver.Retry, running)
	claim, err := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute, AtMostOnce: true})
	if err != nil || len(claim.Deliveries) != 1 || claim.Deliveries[0].Attempt != 2 || claim.Next != 0 {
		t.Errorf("Claim = %+v, %v, want the second attempt, and more at once", claim, err)
	}
	d := c.claim(1)[0]
	if string(d.Body) != "other" || d.Attempt != 1 || d.Failures != 0 || d.Fence <= claim.Deliveries[0].Fence {
		t.Errorf("claimed %+v, want the message that was kept", d)
	}
	c.ack(d)
	for _, key := range []string{c.keys().kept, c.keys().errors, c.keys().bodies, c.keys().states} {
		if n := c.do("HLEN", key); n != int64(0) {
			t.Errorf("%s has %d entries, want none", key, n)
		}
	}
}

func TestRedisCancelFreesTheIDInAllGroups(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	one, two := *c, *c
	one.q.Group, two.q.Group = "one", "two"
	for _, g := range []*redisCase{&one, &two} {
		if err := c.Subscribe(t.Context(), g.q); err != nil {
			t.Fatal(err)
		}
	}
	c.push(message("a"))
	one.ack(one.claim(1)...)
	if ok, err := c.Cancel(t.Context(), c.q.Topic, "a"); !ok || err != nil {
		t.Errorf("Cancel = %t, %v, want true", ok, err)
	}
	c.push(message("a"))
}

func TestRedisMetaOfAGroup(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.q.Group = "one"
	fields := func() []string {
		r := newRedisReply(c.do("HKEYS", redisMetaKey(c.prefix, c.q.Topic)))
		var list []string
		for r.more() {
			list = append(list, r.text())
		}
		slices.Sort(list)
		return list
	}
	for range 2 {
		if err := c.Subscribe(t.Context(), c.q); err != nil {
			t.Fatal(err)
		}
		if got := fields(); !slices.Equal(got, []string{"g:one", "v"}) {
			t.Errorf("fields %q of a topic with a group", got)
		}
		if err := c.Pause(t.Context(), c.q); err != nil {
			t.Fatal(err)
		}
		if err := c.Unsubscribe(t.Context(), c.q); err != nil {
			t.Fatal(err)
		}
		if got := fields(); !slices.Equal(got, []string{"v", "x:one"}) {
			t.Errorf("fields %q of a topic whose group was removed", got)
		}
	}
}

// A page is the same whether it is read alone or as part of all.
func TestRedisListPages(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	start := time.Now().Add(time.Hour)
	for i := range 90 {
		c.push(driver.Message{
			ID: fmt.Sprintf("%02d", i), Priority: driver.Priority(i*i%3 - 1),
			At: start.Add(time.Duration(i*7%11) * time.Minute),
		})
	}
	for i := range 9 {
		c.push(driver.Message{ID: fmt.Sprint("ready ", i), Priority: driver.Priority(i%3 - 1)})
	}
	all, err := c.List(t.Context(), c.q, driver.Waiting, 0, 1000)
	if err != nil || len(all) != 99 {
		t.Fatalf("List = %d records, %v, want 99", len(all), err)
	}
	sorted := slices.IsSortedFunc(all[9:], func(a, b driver.Record) int {
		if d := a.Time.Compare(b.Time); d != 0 {
			return d
		}
		return int(b.Priority - a.Priority)
	})
	if !sorted {
		t.Error("delayed messages are not sorted by due time and priority")
	}
	for offset := -len(all); offset < len(all)+2; offset++ {
		for _, limit := range []int{1, 7} {
			page, err := c.List(t.Context(), c.q, driver.Waiting, offset, limit)
			from := min(offset, len(all))
			if offset < 0 {
				from += len(all)
			}
			want := all[from:min(from+limit, len(all))]
			if same := slices.EqualFunc(page, want, func(a, b driver.Record) bool { return a.ID == b.ID }); err != nil || !same {
				t.Fatalf("List from %d = %+v, %v, want %+v", offset, page, err, want)
			}
		}
	}
}
