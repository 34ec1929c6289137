package fanfare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

var errCut = errors.New("connection cut")

// cutClient loses commands, or their answers.
type cutClient struct {
	RedisClient
	before, after int // how many of the next commands are lost, and of their answers
}

func (c *cutClient) Do(ctx context.Context, args ...any) (any, error) {
	if c.before > 0 {
		c.before--
		return nil, errCut
	}
	reply, err := c.RedisClient.Do(ctx, args...)
	if c.after > 0 {
		c.after--
		return nil, errCut
	}
	return reply, err
}

func newCutCase(t *testing.T) (*redisCase, *cutClient) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("warm")) // scripts and groups are known
	c.push(driver.Message{ID: "warm2", Conflict: driver.RunAgain})
	c.ack(c.claim(2)...)
	cut := &cutClient{RedisClient: c.client}
	c.client = cut
	return c, cut
}

func TestRedisPushWhoseAnswerIsLostIsRepeated(t *testing.T) {
	for _, mode := range []driver.Conflict{driver.KeepFirst, driver.Replace, driver.PushBack, driver.RunAgain} {
		for _, lost := range []cutClient{{before: 1}, {after: 1}} {
			c, cut := newCutCase(t)
			cut.before, cut.after = lost.before, lost.after
			a := message("a")
			a.Conflict = mode
			c.push(a)
			if got := ids(c.claim(10)); !slices.Equal(got, []string{"a"}) {
				t.Errorf("conflict %d: claimed %v, want a once", mode, got)
			}
		}
	}
}

func TestRedisPushDoesNotTakeAnotherMessageForItsOwn(t *testing.T) {
	c, cut := newCutCase(t)
	c.push(message("a"))
	cut.after = 1
	if err := c.outcomes(driver.Message{ID: "a", Body: []byte("another")})[0]; !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("repeated Push of a known id with another body = %v, want ErrDuplicate", err)
	}
	if err := c.outcomes(message("a"))[0]; !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("Push of a known id = %v, want ErrDuplicate", err)
	}
}

// A body that is the same says nothing about a message that runs already: the new
// one must run after it.
func TestRedisRunAgainIsNotLostWithItsAnswer(t *testing.T) {
	for _, lost := range []cutClient{{before: 1}, {after: 1}} {
		c, cut := newCutCase(t)
		again := message("a")
		again.Conflict = driver.RunAgain
		c.push(again)
		running := c.claim(1)[0]
		cut.before, cut.after = lost.before, lost.after
		c.push(again)
		c.ack(running)
		if got := ids(c.claim(10)); !slices.Equal(got, []string{"a"}) {
			t.Errorf("claimed %v after a lost answer, want a again", got)
		}
	}
}

func TestRedisPushThatStaysUnanswered(t *testing.T) {
	c, cut := newCutCase(t)
	cut.after = 2
	_, err := c.Push(t.Context(), c.q.Topic, []driver.Message{message("a")})
	if !errors.Is(err, driver.ErrUnknownOutcome) || errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Push without answers = %v, want ErrUnknownOutcome alone", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Push(ctx, c.q.Topic, []driver.Message{message("b")})
	if !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Push that was not sent = %v, want ErrUnavailable", err)
	}
}

func TestRedisPushOfManyReportsTheStepThatFailed(t *testing.T) {
	c, cut := newCutCase(t)
	var msgs []driver.Message
	for i := range 2 * redisBatch {
		msgs = append(msgs, driver.Message{ID: fmt.Sprint(i)})
	}
	msgs = append(msgs, driver.Message{ID: "other", Conflict: driver.Replace})
	c.client = &failAfter{cut, 1}
	outcomes := c.outcomes(msgs...)
	for i, want := range map[int]error{
		0: nil, redisBatch - 1: nil,
		redisBatch: driver.ErrUnknownOutcome, 2*redisBatch - 1: driver.ErrUnknownOutcome,
		2 * redisBatch: driver.ErrUnavailable,
	} {
		if !errors.Is(outcomes[i], want) {
			t.Errorf("outcome %d = %v, want %v", i, outcomes[i], want)
		}
	}
}

// failAfter lets n commands through, and loses all later ones.
type failAfter struct {
	RedisClient
	n int
}

func (f *failAfter) Do(ctx context.Context, args ...any) (any, error) {
	if f.n == 0 {
		return nil, errCut
	}
	f.n--
	return f.RedisClient.Do(ctx, args...)
}

func TestRedisSettleMayBeRepeated(t *testing.T) {
	for _, verb := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		c, cut := newCutCase(t)
		c.push(message("a"))
		s := []driver.Settlement{{Receipt: c.claim(1)[0].Receipt, Verb: verb, Delay: time.Hour}}
		cut.after = 1
		if _, err := c.Settle(t.Context(), c.q, s); !errors.Is(err, driver.ErrUnknownOutcome) {
			t.Errorf("verb %d: Settle without an answer = %v, want ErrUnknownOutcome", verb, err)
		}
		if outcomes, err := c.Settle(t.Context(), c.q, s); err != nil || outcomes[0] != nil {
			t.Errorf("verb %d: repeated Settle = %v, %v, want it settled", verb, outcomes, err)
		}
	}
}

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
			calls := append([]redisVerb{{"Settle all", func(ctx context.Context) error {
				_, err := c.Settle(ctx, c.q, held)
				return err
			}}}, verbs(c.redisBroker, c.q)...)
			failed := 0
			for _, v := range calls {
				err := v.do(t.Context())
				var refused RedisError
				if errors.As(err, &refused) {
					failed++
					if !strings.Contains(err.Error(), "WRONGTYPE") {
						t.Errorf("%s: %v", v.name, err)
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

// furnish brings messages into every state, and returns settlements of the claims.
func (c *redisCase) furnish() []driver.Settlement {
	c.Helper()
	for i, p := range []driver.Priority{driver.High, driver.Normal, driver.Low} {
		c.push(driver.Message{ID: fmt.Sprint("ready", i), Priority: p})
		c.push(driver.Message{ID: fmt.Sprint("later", i), Priority: p, Delay: time.Hour})
	}
	ds := c.claim(3)
	c.settleAs(driver.Bury, ds[0])
	var held []driver.Settlement
	for i, v := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		id := fmt.Sprint("held", i)
		c.push(message(id))
		held = append(held, driver.Settlement{Receipt: c.claim(1)[0].Receipt, Verb: v, Error: "text"})
		c.push(driver.Message{ID: id, Conflict: driver.RunAgain})
	}
	c.push(message("expired"))
	c.claimFor(1, time.Microsecond)
	return held
}

// consistent requires that each message that has a body is in one place, as far
// as the keys have their type.
func (c *redisCase) consistent(after string) {
	c.Helper()
	k := c.keys()
	places, foreign := map[string]int{}, 0
	for _, key := range append(k.lanes[:], k.leases) {
		reply, err := c.client.Do(c.Context(), "ZRANGE", key, 0, -1)
		if err != nil {
			foreign++
			continue
		}
		for r := newRedisReply(reply); r.more(); {
			places[r.text()]++
		}
	}
	reply, err := c.client.Do(c.Context(), "HKEYS", k.bodies)
	if err != nil {
		return
	}
	for r := newRedisReply(reply); r.more(); {
		if id := r.text(); places[id] > 1 || places[id] == 0 && foreign == 0 {
			c.Errorf("after %s message %q is in %d places, want 1", after, id, places[id])
		}
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
	_, err = c.Extend(t.Context(), c.q, "c", time.Minute, []driver.Receipt{early[0].Receipt})
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
