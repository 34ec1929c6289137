package fanfare_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// The tests of this file give a server much to hold. They count calls, and log
// times, which are of the machine. How much is in the environment:
//
//	FANFARE_TEST_BURST    events that are due at once
//	FANFARE_TEST_BACKLOG  events that wait, and dead letters
func amount(t *testing.T, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n
}

// fill dispatches n events of number, 500 at once, and returns how long it took.
func fill(t *testing.T, d *fanfare.Durable, n int, opts ...fanfare.EventOption) time.Duration {
	t.Helper()
	begin := time.Now()
	var filling sync.WaitGroup
	var next atomic.Int64
	for range 2 {
		filling.Go(func() {
			for {
				from := int(next.Add(500)) - 500
				if from >= n {
					return
				}
				batch := make([]any, min(500, n-from))
				for i := range batch {
					batch[i] = fanfare.With(from+i, opts...)
				}
				if err := d.DispatchBatch(context.Background(), number.Name(), batch); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	filling.Wait()
	return time.Since(begin)
}

// watchSlow lets the server note commands that take more than 10ms.
func watchSlow(t *testing.T, s *testsvc.Server) {
	t.Helper()
	tell(t, s, "CONFIG", "SET", "slowlog-log-slower-than", 10_000)
	tell(t, s, "CONFIG", "RESETSTAT")
	tell(t, s, "SLOWLOG", "RESET")
}

// slow returns how many commands took more than 10ms, and the longest.
func slow(t *testing.T, s *testsvc.Server) (n int, longest time.Duration) {
	t.Helper()
	entries, err := redis.Values(tell(t, s, "SLOWLOG", "GET", 128), nil)
	require.NoError(t, err)
	for _, e := range entries {
		fields, err := redis.Values(e, nil)
		require.NoError(t, err)
		us, err := redis.Int64(fields[2], nil)
		require.NoError(t, err)
		longest = max(longest, time.Duration(us)*time.Microsecond)
	}
	return len(entries), longest
}

func TestManyEventsDueAtOnce(t *testing.T) {
	t.Parallel()
	n, consumers := amount(t, "FANFARE_TEST_BURST", 10_000), 3
	s := testsvc.StartRedis(t)
	producer := onRedis(t, s)
	require.NoError(t, producer.Pause(t.Context(), number.Name()))
	var handled atomic.Int64
	for range consumers {
		_, err := number.Register(t.Context(), onRedis(t, s), func(context.Context, int) error { handled.Add(1); return nil }, fanfare.Concurrency(200))
		require.NoError(t, err)
	}
	fill(t, producer, n, fanfare.At(time.Now()))
	watchSlow(t, s)
	begin := time.Now()
	require.NoError(t, producer.Resume(t.Context(), number.Name()))
	require.Eventually(t, func() bool { return handled.Load() == int64(n) }, time.Minute, time.Millisecond, "drained")
	took := time.Since(begin)
	drainedOf(t, producer)
	ran, _ := scriptCalls(t, s)
	count, longest := slow(t, s)
	t.Logf("%d events by %d consumers in %v, %.0f/s; %d calls, %.1f for 100 events; %d slower than 10ms, the longest %v",
		n, consumers, took, float64(n)/took.Seconds(), ran, float64(ran)*100/float64(n), count, longest)
	require.LessOrEqual(t, ran, n/4, "calls are for batches, and nobody is woken for nothing")
	require.EqualValues(t, n, handled.Load())
}

func TestManyIdleTopicsAskSeldom(t *testing.T) {
	t.Parallel()
	const topics, seconds = 50, 4
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	for n := range topics {
		_, err := fanfare.NewTopic[int](fmt.Sprint("idle", n)).Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err)
	}
	tell(t, s, "CONFIG", "RESETSTAT")
	<-time.After(seconds * time.Second)
	ran, _ := scriptCalls(t, s)
	require.NotZero(t, ran)
	require.LessOrEqual(t, ran, topics*(seconds+1), "one a second and topic")
	t.Logf("%d calls for %d topics in %ds", ran, topics, seconds)
}

// A backlog of delayed events costs memory in proportion, and a claim no more
// than without it. To purge it keeps nobody else waiting, nor does it to delete
// as many dead letters.
func TestManyEventsWaiting(t *testing.T) {
	t.Parallel()
	n := amount(t, "FANFARE_TEST_BACKLOG", 30_000)
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	require.NoError(t, d.Queue(number.Name(), "").Create(t.Context()))
	empty := usedMemory(t, s)
	took := fill(t, d, n, fanfare.Delay(24*time.Hour))
	each := (usedMemory(t, s) - empty) / n
	t.Logf("%d delayed events in %v, %.0f/s, %d bytes each", n, took, float64(n)/took.Seconds(), each)
	require.Less(t, each, 450, "bytes an event of one digit, its id and envelope included")

	watchSlow(t, s)
	got := consumeNumbers(t, d)
	const due = 1000
	for n := range due {
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	got.Wait(t, due)
	ran, _ := scriptCalls(t, s)
	count, longest := slow(t, s)
	t.Logf("%d events before them: %d calls, %d slower than 10ms, the longest %v", due, ran, count, longest)
	require.LessOrEqual(t, ran, 4*due)

	watchSlow(t, s)
	pings := pingWhile(t, s, func() {
		purged, err := d.Purge(t.Context(), number.Name())
		require.NoError(t, err)
		require.Equal(t, n, purged)
	})
	requireNoStall(t, s, "purge", pings)
}

func TestManyDeadLetters(t *testing.T) {
	t.Parallel()
	n := amount(t, "FANFARE_TEST_BACKLOG", 10_000)
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	q := d.Queue(number.Name(), "")
	fill(t, d, n)
	_, err := number.Register(t.Context(), d, func(context.Context, int) error { return fanfare.Discard(nil) }, fanfare.Concurrency(400))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return d.Stats().Dead == uint64(n) }, 10*time.Minute, 5*time.Millisecond, "all dead")
	all, err := d.Status(t.Context(), number.Name())
	require.NoError(t, err)
	require.Equal(t, n, all[0].Dead, "none is trimmed")

	letters, err := q.Dead(t.Context(), 0, 100)
	require.NoError(t, err)
	ids := make([]string, len(letters))
	for i, l := range letters {
		ids[i] = l.ID
	}
	require.NoError(t, q.Requeue(t.Context(), ids...))
	require.Eventually(t, func() bool { return d.Stats().Dead == uint64(n+100) }, time.Minute, 5*time.Millisecond, "dead again")
	watchSlow(t, s)
	pings := pingWhile(t, s, func() { require.NoError(t, q.Delete(t.Context())) })
	requireNoStall(t, s, "delete", pings)
}

func usedMemory(t *testing.T, s *testsvc.Server) int {
	t.Helper()
	stats, err := redis.Values(tell(t, s, "MEMORY", "STATS"), nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(stats); i += 2 {
		if name, _ := redis.String(stats[i], nil); name == "total.allocated" {
			n, err := redis.Int(stats[i+1], nil)
			require.NoError(t, err)
			return n
		}
	}
	t.Fatal("no total.allocated")
	return 0
}

// pingWhile returns how long each PING took that another client sent while f ran.
func pingWhile(t *testing.T, s *testsvc.Server, f func()) []time.Duration {
	t.Helper()
	c, err := redis.Dial("tcp", s.Addr)
	require.NoError(t, err)
	defer c.Close()
	var pinging sync.WaitGroup
	var took []time.Duration
	done := make(chan struct{})
	pinging.Go(func() {
		for {
			begin := time.Now()
			if _, err := c.Do("PING"); err != nil {
				t.Error(err)
				return
			}
			took = append(took, time.Since(begin))
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	f()
	close(done)
	pinging.Wait()
	return took
}

// requireNoStall holds that no command took long. The goal is 10ms, the bound is
// for a machine that does other things: one command for all would take seconds.
func requireNoStall(t *testing.T, s *testsvc.Server, what string, pings []time.Duration) {
	t.Helper()
	count, longest := slow(t, s)
	longestPing := time.Duration(0)
	for _, p := range pings {
		longestPing = max(longestPing, p)
	}
	t.Logf("%s: %d commands slower than 10ms, the longest %v; the longest of %d PINGs %v", what, count, longest, len(pings), longestPing)
	require.Less(t, longest, 500*time.Millisecond)
	require.Less(t, longestPing, time.Second)
	behaviour.Eventually(t, func() bool {
		n, err := redis.Int(tell(t, s, "DBSIZE"), nil)
		return err == nil && n <= 5
	}, "little is left")
}
