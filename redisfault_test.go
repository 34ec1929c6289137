package fanfare

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestRedisRefusesForeignKeysAndChangesNothing(t *testing.T) {
	url := testsvc.StartRedis(t).URL
	probe := newCase(t, url)
	for n := range keysIn(probe.keys()) {
		c := newCase(t, url)
		key := keysIn(c.keys())[n]
		t.Run(key[strings.LastIndex(key, ":")+1:], func(t *testing.T) {
			c.T = t
			held := c.furnish()
			c.do("DEL", key)
			c.do("SET", key, "foreign")
			failed := 0
			for _, v := range append(c.settlements(held), verbs(c.redisBroker, c.q)...) {
				before := c.dump()
				err := v.do(t.Context())
				var refused RedisError
				if errors.As(err, &refused) {
					failed++
					if !strings.Contains(err.Error(), "WRONGTYPE") {
						t.Errorf("%s: %v", v.name, err)
					}
					if c.dump() != before && v.name != "Unsubscribe" { // which is several steps
						t.Errorf("%s was refused and changed something", v.name)
					}
				}
				c.consistent(v.name)
			}
			if failed == 0 {
				t.Error("no call was refused")
			}
			if got := c.do("GET", key); string(got.([]byte)) != "foreign" {
				t.Errorf("foreign key is now %q", got)
			}
		})
	}
}

func TestRedisDrainsWhenMemoryIsFull(t *testing.T) {
	c := newCase(t, testsvc.StartRedis(t).URL)
	for i := range 100 {
		c.push(message(fmt.Sprint(i)))
	}
	q2 := driver.Queue{Topic: c.q.Topic, Group: c.q.Group}
	c.push(driver.Message{ID: "later", Delay: time.Hour}, driver.Message{ID: "canceled", Delay: time.Hour})
	c.push(driver.Message{ID: "purged", Delay: time.Hour})
	if err := c.Subscribe(t.Context(), q2); err != nil {
		t.Fatal(err)
	}
	early := c.claimFor(10, time.Millisecond).Deliveries
	c.do("CONFIG", "SET", "maxmemory", "1")

	for _, conflict := range []driver.Conflict{driver.KeepFirst, driver.Replace, driver.PushBack, driver.RunAgain} {
		_, err := c.Push(t.Context(), c.q.Topic, []driver.Message{{ID: "new", Conflict: conflict}})
		if !errors.Is(err, driver.ErrFull) {
			t.Errorf("Push with conflict %d = %v, want ErrFull", conflict, err)
		}
	}
	other := newRedisBroker(c.client, redisOptions{prefix: c.prefix}) // another process, that starts now
	if err := other.Subscribe(t.Context(), q2); err != nil {
		t.Errorf("Subscribe of a group that there is = %v", err)
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s on a full server = %v", what, err)
		}
	}
	_, err := c.Reschedule(t.Context(), c.q.Topic, "later", time.Now())
	must("Reschedule", err)
	_, err = c.Cancel(t.Context(), c.q.Topic, "canceled")
	must("Cancel", err)
	must("Resume", c.Resume(t.Context(), c.q))
	_, err = c.Extend(t.Context(), c.q, "", time.Minute, []driver.Receipt{early[0].Receipt})
	must("Extend", err)

	verbs := []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury}
	for n := 0; n < 1000; n++ {
		claim, err := other.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 7, Lease: time.Minute, Consumer: fmt.Sprint(n)})
		must("Claim", err)
		if len(claim.Deliveries) == 0 {
			break
		}
		for i, d := range claim.Deliveries {
			v := driver.Ack
			if d.Attempt == 1 && n < 5 {
				v = verbs[(n+i)%4]
			}
			outcomes, err := other.Settle(t.Context(), c.q, []driver.Settlement{{Receipt: d.Receipt, Verb: v, Error: "text"}})
			must("Settle", errors.Join(append(outcomes, err)...))
		}
	}
	records, err := c.List(t.Context(), c.q, driver.Dead, 0, 100)
	must("List", err)
	for _, r := range records {
		outcomes, err := c.Requeue(t.Context(), c.q, r.ID)
		must("Requeue", errors.Join(append(outcomes, err)...))
	}
	for {
		claim, err := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 9, Lease: time.Minute, AtMostOnce: true})
		must("Claim at most once", err)
		if len(claim.Deliveries) == 0 {
			break
		}
	}
	n, err := c.Purge(t.Context(), c.q)
	must("Purge", err)
	if n != 2 { // the message purged, and the one that is held
		t.Errorf("%d messages left, want 2", n)
	}
	must("Unsubscribe", c.Unsubscribe(t.Context(), c.q))
}

func TestRedisReadOnly(t *testing.T) {
	c := newCase(t, testsvc.StartRedis(t).URL)
	c.push(message("a"))
	c.do("REPLICAOF", "127.0.0.1", "1")
	_, push := c.Push(t.Context(), c.q.Topic, []driver.Message{message("b")})
	_, claim := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
	_, cancel := c.Cancel(t.Context(), c.q.Topic, "a")
	for name, err := range map[string]error{
		"Push": push, "Claim": claim, "Cancel": cancel, "Subscribe": c.Subscribe(t.Context(), c.q), "Pause": c.Pause(t.Context(), c.q),
	} {
		if !errors.Is(err, driver.ErrReadOnly) || !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("%s on a replica = %v, want ErrReadOnly", name, err)
		}
	}
	if r, err := c.Get(t.Context(), c.q, "a"); err != nil || r.State != driver.Ready {
		t.Errorf("Get on a replica = %+v, %v", r, err)
	}
}

func TestRedisRefusesAnotherLayout(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.do("HSET", redisTopicsKey(c.prefix), c.q.Topic, "2")
	if _, err := c.Push(t.Context(), c.q.Topic, []driver.Message{message("a")}); !errors.Is(err, driver.ErrSchema) {
		t.Errorf("Push = %v, want ErrSchema", err)
	}
	if err := c.Subscribe(t.Context(), c.q); !errors.Is(err, driver.ErrSchema) {
		t.Errorf("Subscribe = %v, want ErrSchema", err)
	}
	if got := c.stored(); !slices.Equal(got, []string{"topics"}) {
		t.Errorf("keys %q, want nothing written", got)
	}
}

func TestRedisOrphansLeaveTheirLane(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("a"), message("b"))
	c.do("HDEL", c.keys().bodies, "a")                       // an id without a body
	c.do("HSET", c.keys().bodies, "c", "body without an id") // and the other way round
	c.do("ZADD", c.keys().lanes[0], "-inf", "d", "+inf", "e", "1.5", "f")
	c.do("HSET", c.keys().states, "b", "garbage")
	c.do("HSET", c.keys().kept, "b", "garbage")
	if got := ids(c.claim(10)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("claimed %v, want b", got)
	}
	if n := c.do("ZCARD", c.keys().lanes[0]); n != int64(1) {
		t.Errorf("%d ids left, want the one that is never due", n)
	}
}

// A group that the server lost is not one that was removed.
func TestRedisSubscribesAgainAfterLossOfData(t *testing.T) {
	server := testsvc.StartRedis(t)
	c := newCase(t, server.URL)
	c.q.Group = "billing"
	producer := newRedisBroker(dialTest(t, server.URL), redisOptions{prefix: c.prefix})
	push := func(id string) {
		t.Helper()
		if _, err := producer.Push(t.Context(), c.q.Topic, []driver.Message{message(id)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Subscribe(t.Context(), c.q); err != nil {
		t.Fatal(err)
	}
	push("a")
	c.ack(c.claim(1)...)
	c.do("FLUSHALL")
	c.claim(1)
	push("b")
	if got := ids(c.claim(10)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("claimed %v after a loss of data, want b", got)
	}
	if got, err := c.Status(t.Context()); err != nil || len(got) != 1 || got[0].Queue != c.q {
		t.Errorf("Status = %+v, %v, want the queue", got, err)
	}
	if err := producer.Unsubscribe(t.Context(), c.q); err != nil {
		t.Fatal(err)
	}
	c.claim(1)
	if got, err := c.Status(t.Context()); err != nil || got[0].Queue.Group != driver.DefaultGroup {
		t.Errorf("Status after Unsubscribe = %+v, %v, want no group", got, err)
	}
}

func TestRedisForgetsEndedIDs(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.window = 1
	for i := range 3 {
		for j := range 700 {
			c.push(driver.Message{ID: fmt.Sprint(i, " ", j)})
		}
		for n := 0; n < 700; {
			claim, err := c.Claim(t.Context(), c.q, driver.ClaimRequest{Limit: 500, Lease: time.Minute, AtMostOnce: true})
			if err != nil {
				t.Fatal(err)
			}
			n += len(claim.Deliveries)
		}
	}
	if n := c.do("ZCARD", c.keys().known); n.(int64) > 500 {
		t.Errorf("%d ended ids are kept, want them forgotten", n)
	}
}

func TestRedisUnsubscribeLeavesNothing(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.q.Group = "one"
	if err := c.Subscribe(t.Context(), c.q); err != nil {
		t.Fatal(err)
	}
	c.furnish()
	for i := range 1200 {
		c.push(driver.Message{ID: fmt.Sprint(i)})
	}
	if err := c.Unsubscribe(t.Context(), c.q); err != nil {
		t.Fatal(err)
	}
	if got, want := c.stored(), []string{"topics", "{topic}:meta"}; !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}
