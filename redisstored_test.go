package fanfare

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// The tests of this file put into a server what this version of the package did
// not write, or not like that.

// durable returns a dispatcher on the keys of c.
func (c *redisCase) durable(opts ...Option) *Durable {
	c.Helper()
	d, err := NewRedis(c.client, append([]Option{WithPrefix(c.prefix)}, opts...)...)
	require.NoError(c.T, err)
	c.Cleanup(func() { stopSoon(d) })
	return d
}

func stopSoon(d Dispatcher) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = d.Stop(ctx)
}

// handled registers a handler of topic and returns what it gets.
func handled(t *testing.T, topic Topic[int], d Dispatcher) <-chan int {
	t.Helper()
	got := make(chan int, 1000)
	_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error { got <- n; return nil })
	require.NoError(t, err)
	return got
}

// take waits for n values.
func take(t *testing.T, got <-chan int, n int) []int {
	t.Helper()
	var all []int
	late := time.After(20 * time.Second)
	for len(all) < n {
		select {
		case v := <-got:
			all = append(all, v)
		case <-late:
			t.Fatalf("%d of %d: %v", len(all), n, all)
		}
	}
	return all
}

// What another version stored waits among the dead letters, byte for byte, and
// hinders nothing else.
func TestUnknownEnvelopesAreParked(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	topic := NewTopic[int](c.q.Topic)
	known := envelope{dispatchedAt: time.UnixMilli(1), contentType: "application/json", payload: []byte("7")}.encode()
	unknown := append([]byte{envelopeVersion + 1}, known[1:]...)
	c.push(driver.Message{ID: "future", Body: unknown}, driver.Message{ID: "none"}, driver.Message{ID: "known", Body: known})
	d := c.durable()
	got := handled(t, topic, d)
	require.NoError(t, topic.Dispatch(t.Context(), d, 8))
	require.ElementsMatch(t, []int{7, 8}, take(t, got, 2))
	require.Eventually(t, func() bool { return d.Stats().Dead == 2 }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, d.Stop(t.Context()))

	later := c.durable() // as the version that knows it
	letters, err := later.Queue(c.q.Topic, "").Dead(t.Context(), 0, 10)
	require.NoError(t, err)
	slices.SortFunc(letters, func(a, b Record) int { return strings.Compare(a.ID, b.ID) })
	require.Len(t, letters, 2)
	require.Equal(t, "future", letters[0].ID)
	require.Equal(t, ReasonUndecodable, letters[0].Reason)
	require.Contains(t, letters[0].LastError, "version 2")
	require.Equal(t, unknown, letters[0].Payload.Bytes())
	require.NoError(t, later.Queue(c.q.Topic, "").Requeue(t.Context(), "future"))
	require.Equal(t, unknown, c.claim(1)[0].Body)
}

// A topic that a later version of the package laid out is refused, and left as
// it is; others are not.
func TestUnknownLayoutIsLeftAlone(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("a"))
	c.do("HSET", redisTopicsKey(c.prefix), c.q.Topic, "2")
	before := c.dump()
	fresh := newRedisBroker(c.client, redisOptions{prefix: c.prefix}) // another process
	d := newDurable(fresh, must(newConfig(redisKind, nil)))
	t.Cleanup(func() { stopSoon(d) })
	theirs, ours := NewTopic[int](c.q.Topic), NewTopic[int]("ours")
	_, err := theirs.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.ErrorIs(t, err, ErrSchema)
	require.ErrorIs(t, theirs.Dispatch(t.Context(), d, 1), ErrSchema)
	require.Equal(t, before, c.dump())
	require.NoError(t, ours.Dispatch(t.Context(), d, 1))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Garbage in the keys of one topic stops that topic at most, and no other.
func TestGarbageInOneTopicHurtsNoOther(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	d, sound := c.durable(), NewTopic[int]("sound")
	for n := range keysIn(c.keys()) {
		q := driver.Queue{Topic: fmt.Sprint("broken", n), Group: driver.DefaultGroup}
		c.do("SET", keysIn(newRedisKeys(c.prefix, q))[n], "garbage")
		_, _ = NewTopic[int](q.Topic).Register(t.Context(), d, func(context.Context, int) error { return nil })
		_ = NewTopic[int](q.Topic).Dispatch(t.Context(), d, 1)
	}
	got := handled(t, sound, d)
	for n := range 20 {
		require.NoError(t, sound.Dispatch(t.Context(), d, n))
	}
	require.Len(t, take(t, got, 20), 20)
}

// Scores that nobody can have written, ids without bodies and bodies without ids
// cost no other event of the queue.
func TestGarbageInAQueueHurtsNoOtherEvent(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	garbage := []string{"\x00\xff", "}x{", strings.Repeat("x", 1000), "", "-inf"}
	for i, id := range garbage {
		c.do("ZADD", c.keys().lanes[i%3], []string{"-inf", "+inf", "-1", "1e300", "0.5"}[i], id)
		c.do("ZADD", c.keys().leases, []string{"+inf", "-inf", "1.5", "-1", "1e300"}[i], "leased"+id)
		c.do("HSET", c.keys().states, id, strings.Repeat(":", i))
		c.do("HSET", c.keys().bodies, "alone"+id, id)
		c.do("ZADD", c.keys().known, "-inf", "known"+id)
	}
	d, topic := c.durable(), NewTopic[int](c.q.Topic)
	got := handled(t, topic, d)
	for n := range 20 {
		require.NoError(t, topic.Dispatch(t.Context(), d, n))
	}
	require.Len(t, take(t, got, 20), 20)
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	for _, list := range []func(context.Context, int, int) ([]Record, error){d.Queue(c.q.Topic, "").Peek, d.Queue(c.q.Topic, "").Running} {
		_, err := list(t.Context(), 0, 100)
		require.NoError(t, err)
	}
	_, err = d.Purge(t.Context(), c.q.Topic)
	require.NoError(t, err)
}

// No key may vanish by itself: no policy of the server but one that evicts keys
// without a TTL costs an event.
func TestNoKeyExpires(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.furnish()
	for _, key := range c.stored() {
		if ttl := c.do("PTTL", c.prefix+":"+key); ttl != int64(-1) {
			t.Errorf("PTTL %s = %v, want none", key, ttl)
		}
	}
}

// A server that is short of memory evicts keys with a TTL, and so none of ours.
func TestEvictionOfOthersKeys(t *testing.T) {
	c := newCase(t, testsvc.StartRedis(t, "--maxmemory-policy", "volatile-lru").URL)
	for n := range 200 {
		c.push(driver.Message{ID: fmt.Sprint(n), Body: bytes.Repeat([]byte("x"), 1000)})
	}
	c.do("CONFIG", "SET", "maxmemory", "8mb")
	for n := range 10_000 {
		c.do("SET", fmt.Sprint("cache", n), strings.Repeat("y", 1000), "EX", 3600)
	}
	if stats := string(c.do("INFO", "stats").([]byte)); strings.Contains(stats, "evicted_keys:0\r\n") {
		t.Fatal("nothing was evicted")
	}
	if ds := c.claim(500); len(ds) != 200 {
		t.Errorf("claimed %d messages, want 200", len(ds))
	}
}

// A file that ends in the middle of a script's effects has none of them.
func TestTornAppendOnlyFile(t *testing.T) {
	s := testsvc.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "yes")
	c := newCase(t, s.URL)
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 6 {
		for n := range 20 {
			c.push(message(fmt.Sprint(round, "-", n)))
		}
		ds := c.claim(10)
		c.ack(ds[:3]...)
		c.settleAs(driver.Retry, ds[3:6]...)
		c.settleAs(driver.Bury, ds[6:8]...)
		s.Kill()
		files, err := filepath.Glob(filepath.Join(s.Dir, "appendonlydir", "*.incr.aof"))
		require.NoError(t, err)
		if len(files) == 0 { // Redis before 7
			files = []string{filepath.Join(s.Dir, "appendonly.aof")}
		}
		last := files[len(files)-1]
		info, err := os.Stat(last)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(last, info.Size()-3-random.Int64N(300)))
		s.Restart()
		_, _ = c.client.Do(t.Context(), "PING") // the connection of before
		c.consistent(fmt.Sprint("tear ", round))
	}
}
