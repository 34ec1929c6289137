package fanfare

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// redisACL is the rule for a user that may do what the broker does and nothing
// else, with the default prefix. Redis checks it in scripts too. CLUSTER, INFO
// and the like are not in it, nor is anything that lists keys.
const redisACL = "resetkeys ~fanfare:* resetchannels -@all" +
	" +eval +evalsha +time +blpop +lpush +lpop +llen" +
	" +hget +hmget +hgetall +hkeys +hexists +hlen +hset +hsetnx +hdel" +
	" +zadd +zrem +zcard +zcount +zscore +zmscore +zrange +zrangebyscore +zremrangebyscore +zremrangebyrank"

// redisHarness makes brokers on the server that the function address names.
func redisHarness(address func(testing.TB) string) drivertest.Harness {
	var addresses sync.Map // of brokers
	open := func(t testing.TB, address string, o redisOptions) driver.Broker {
		b := newRedisBroker(dialTest(t, address), o)
		addresses.Store(driver.Broker(b), address)
		return b
	}
	return drivertest.Harness{
		New: func(t testing.TB, window time.Duration) driver.Broker {
			return open(t, address(t), redisOptions{prefix: "fanfare:" + rand.Text(), window: window})
		},
		Reopen: func(t testing.TB, b driver.Broker) driver.Broker {
			address, _ := addresses.Load(b)
			r := b.(*redisBroker)
			return open(t, address.(string), redisOptions{prefix: r.prefix, window: redisDuration(r.window)})
		},
	}
}

func TestRedisBroker(t *testing.T) {
	url := testsvc.Redis(t).URL
	drivertest.Run(t, redisHarness(func(testing.TB) string { return url }))
}

// A user that may only do what redisACL says can do everything a broker does.
func TestRedisBrokerWithLeastPrivilege(t *testing.T) {
	server := testsvc.StartRedis(t)
	admin := dialTest(t, server.URL)
	rule := []any{"ACL", "SETUSER", "worker", "on", ">hunter2"}
	for _, r := range strings.Fields(redisACL) {
		rule = append(rule, r)
	}
	if _, err := admin.Do(t.Context(), rule...); err != nil {
		t.Fatal(err)
	}
	url := "redis://worker:hunter2@" + server.Addr
	drivertest.Run(t, redisHarness(func(testing.TB) string { return url }))

	worker := dialTest(t, url)
	for _, denied := range [][]any{
		{"FLUSHALL"}, {"KEYS", "*"}, {"SCAN", "0"}, {"CONFIG", "GET", "*"}, {"ACL", "LIST"}, {"DEL", "fanfare:topics"},
		{"HGET", "other", "f"}, {"EVAL", "return redis.call('HGET', KEYS[1], 'f')", 1, "other"},
		{"EVAL", "return redis.call('GET', KEYS[1])", 1, "fanfare:x"},
	} {
		var refused RedisError
		if _, err := worker.Do(t.Context(), denied...); !errors.As(err, &refused) {
			t.Errorf("%v = %v, want it refused", denied, err)
		}
	}
}

// counting counts the commands that a server runs, those in scripts included.
func (c *redisCase) counting(f func()) map[string]int {
	c.Helper()
	c.do("CONFIG", "RESETSTAT")
	f()
	counts := map[string]int{}
	for line := range strings.Lines(string(c.do("INFO", "commandstats").([]byte))) {
		name, stats, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		var n int
		if ok && !strings.HasPrefix(name, "config") && !strings.HasPrefix(name, "info") {
			fmt.Sscanf(stats, "%d,", &n)
			counts[name] = n
		}
	}
	return counts
}

// The number of commands is what the speed of the broker depends on. It is for a
// batch of any size, and goes up only with reason.
func TestRedisCommandsPerCall(t *testing.T) {
	for _, n := range []int{1, 20} {
		c := newCase(t, testsvc.StartRedis(t).URL)
		c.push(message("first")) // fills the caches, notes the consumer
		c.ack(c.claim(1)...)
		var msgs []driver.Message
		for i := range n {
			msgs = append(msgs, message(fmt.Sprint(i)))
		}
		if err := c.Wait(t.Context(), c.q, time.Second); err != nil { // takes the token
			t.Fatal(err)
		}
		var ds []driver.Delivery
		for _, tt := range []struct {
			name string
			f    func()
			want map[string]int
		}{
			{"push that wakes", func() { c.push(msgs...) }, map[string]int{
				"evalsha": 1, "hget": 1, "time": 1, "hmget": 1, "zmscore": 1, "zrange": 1, "hset": 1, "zadd": 1,
				"llen": 1, "lpush": 1,
			}},
			{"push", func() { c.push(message("last")) }, map[string]int{
				"evalsha": 1, "hget": 1, "time": 1, "hmget": 1, "zmscore": 1, "zrange": 1, "hset": 1, "zadd": 1,
			}},
			{"claim", func() { ds = c.claim(n + 1) }, map[string]int{
				"evalsha": 1, "hmget": 1 + 2 + 1, "time": 1, "zrange": 3 + 1, "zrem": 1, "zadd": 1, "hset": 1,
			}},
			{"claim of nothing", func() { c.claim(n) }, map[string]int{
				"evalsha": 1, "hmget": 1, "time": 1, "zrange": 3 + 1,
			}},
			{"settle", func() { c.ack(ds...) }, map[string]int{
				"evalsha": 1, "time": 1, "hmget": 1, "zmscore": 1, "zrangebyscore": 1, "hlen": 2, "zrem": 1, "hdel": 2, "zadd": 1,
			}},
		} {
			if got := c.counting(tt.f); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%s of %d runs the commands %v, want %v", tt.name, n, got, tt.want)
			}
		}
	}
}

// What was done leaves its id for the window and nothing else.
func TestRedisKeepsNothingOfWhatEnded(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.window = redisMicros(50 * time.Millisecond)
	for _, p := range []driver.Priority{driver.High, driver.Normal, driver.Low} {
		for _, id := range []string{"acked", "retried", "released", "buried", "canceled", "once", "again"} {
			c.push(driver.Message{ID: fmt.Sprint(id, p), Priority: p, Body: []byte(id)})
		}
	}
	done := 0
	for done < 3*7+3 {
		for _, d := range c.claim(5) {
			switch {
			case d.Attempt == 1 && string(d.Body) == "retried":
				c.settleAs(driver.Retry, d)
				continue
			case d.Attempt == 1 && d.Fence > 0 && string(d.Body) == "canceled":
				c.settleAs(driver.Retry, d)
				if ok, err := c.Cancel(t.Context(), c.q.Topic, d.ID); !ok || err != nil {
					t.Fatal(ok, err)
				}
			case string(d.Body) == "buried":
				c.settleAs(driver.Bury, d)
				if n, err := c.DeleteDead(t.Context(), c.q, d.ID); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			case string(d.Body) == "again":
				c.push(driver.Message{ID: d.ID, Conflict: driver.RunAgain})
				c.ack(d)
			default:
				c.ack(d)
			}
			done++
		}
	}
	late := time.After(5 * time.Second)
	want := []string{"topics", "{topic}:default:c", "{topic}:default:w"}
	for !slices.Equal(c.stored(), want) {
		select {
		case <-late:
			t.Fatalf("keys %q, want %q", c.stored(), want)
		case <-time.After(10 * time.Millisecond):
			if _, err := c.Settle(t.Context(), c.q, []driver.Settlement{{Receipt: driver.Receipt{ID: "x"}}}); err != nil {
				t.Fatal(err) // it forgets ids whose window has passed
			}
		}
	}
}

func TestRedisNeverClaimsEarly(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	var pushing sync.WaitGroup
	pushing.Go(func() {
		for i := range 300 {
			delay := time.Duration(i%7) * 333 * time.Microsecond
			outcomes, err := c.Push(t.Context(), c.q.Topic, []driver.Message{{ID: fmt.Sprint(i), Delay: delay + 1}})
			if err := errors.Join(append(outcomes, err)...); err != nil {
				t.Error(err)
			}
		}
	})
	defer pushing.Wait()
	for got := 0; got < 300; {
		claim := c.claimFor(10, time.Minute)
		for _, d := range claim.Deliveries {
			if d.Due.After(claim.Now) {
				t.Errorf("%q was claimed %v early", d.ID, d.Due.Sub(claim.Now))
			}
		}
		got += len(claim.Deliveries)
	}
}

func TestRedisHonoursPriorityWeights(t *testing.T) {
	for _, limit := range []int{1, 3, 10, 60} {
		c := newCase(t, testsvc.Redis(t).URL)
		for i := range 100 {
			for _, p := range []driver.Priority{driver.High, driver.Normal, driver.Low} {
				c.push(driver.Message{ID: fmt.Sprint(i, p), Priority: p})
			}
		}
		counts := map[driver.Priority]int{}
		for n := 0; n < 60; {
			ds := c.claim(limit)
			for _, d := range ds {
				counts[d.Priority]++
			}
			n += len(ds)
		}
		if counts[driver.High] != 36 || counts[driver.Normal] != 18 || counts[driver.Low] != 6 {
			t.Errorf("with limit %d claimed %v of 60, want 36, 18 and 6", limit, counts)
		}
	}
}

func TestRedisClaimsAtMostOneMegabyte(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	body := make([]byte, 300<<10)
	for i := range 7 {
		c.push(driver.Message{ID: fmt.Sprint(i), Body: body})
	}
	c.push(driver.Message{ID: "large", Body: make([]byte, 1<<20)}, message("small"))
	var sizes []int
	for range 5 {
		claim := c.claimFor(100, time.Minute)
		sizes = append(sizes, len(claim.Deliveries))
		if more := len(sizes) < 5; (claim.Next == 0) != more {
			t.Errorf("Next = %v after %v messages", claim.Next, sizes)
		}
	}
	if want := []int{3, 3, 1, 1, 1}; !slices.Equal(sizes, want) {
		t.Errorf("claimed %v messages at a time, want %v", sizes, want)
	}
}

func TestRedisReclaimsMoreThanOneBatch(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	var msgs []driver.Message
	for i := range 1200 {
		msgs = append(msgs, driver.Message{ID: fmt.Sprint(i), Priority: driver.Priority(i%3 - 1)})
	}
	c.push(msgs...)
	const lease = 200 * time.Millisecond
	for n := 0; n < len(msgs); {
		n += len(c.claimFor(500, lease).Deliveries)
	}
	<-time.After(lease)
	seen := map[string]bool{}
	late := time.Now().Add(5 * time.Second)
	for len(seen) < len(msgs) && time.Now().Before(late) {
		for _, d := range c.claimFor(500, time.Minute).Deliveries {
			if seen[d.ID] || d.Attempt < 2 {
				t.Errorf("%q claimed again: %t, attempt %d", d.ID, seen[d.ID], d.Attempt)
			}
			seen[d.ID] = true
		}
	}
	if len(seen) != len(msgs) {
		t.Errorf("%d messages came back, want %d", len(seen), len(msgs))
	}
}

// A holder whose lease ran out is still the holder until somebody else claims.
func TestRedisReclaimKeepsTokens(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("a"), message("b"), message("c"), message("d"))
	held := c.claimFor(4, time.Millisecond).Deliveries
	<-time.After(2 * time.Millisecond)
	first := c.claim(1)[0] // gives back all of them, and takes one
	lost, err := c.Extend(t.Context(), c.q, "", time.Minute, []driver.Receipt{held[0].Receipt, held[1].Receipt})
	if err != nil || !slices.Equal(lost, []bool{true, false}) {
		t.Errorf("Extend = %v, %v, want the first lost", lost, err)
	}
	c.ack(held[2])
	c.settleAs(driver.Retry, held[3])
	if got := ids(c.claim(10)); !slices.Equal(got, []string{"d"}) {
		t.Errorf("claimed %v, want d alone", got)
	}
	c.ack(first, held[1])
}

func TestRedisFenceGrowsBeyondTheLifeOfAMessage(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	fence := int64(0)
	for i := range 20 {
		c.push(message("a"))
		d := c.claim(1)[0]
		if d.Fence <= fence {
			t.Fatalf("fence %d after %d", d.Fence, fence)
		}
		fence = d.Fence
		switch i % 3 {
		case 0:
			c.settleAs(driver.Retry, d)
			if ok, err := c.Cancel(t.Context(), c.q.Topic, "a"); !ok || err != nil {
				t.Fatal(ok, err)
			}
		case 1:
			if _, err := c.Purge(t.Context(), c.q); err != nil {
				t.Fatal(err)
			}
		case 2:
			c.settleAs(driver.Bury, d)
			if outcomes, err := c.Requeue(t.Context(), c.q, "a"); outcomes[0] != nil || err != nil {
				t.Fatal(outcomes, err)
			}
			if _, err := c.Purge(t.Context(), c.q); err != nil {
				t.Fatal(err)
			}
		}
	}
}
