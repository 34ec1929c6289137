package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// The servers of this file answer, but not as one would like.

// scriptCalls returns how many scripts and waits clients asked for since the
// server started, or CONFIG RESETSTAT: those that it ran, and those it refused.
func scriptCalls(t *testing.T, s *testsvc.Server) (ran, refused int) {
	t.Helper()
	info, err := redis.String(tell(t, s, "INFO", "commandstats"), nil)
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`cmdstat_(?:eval|evalsha|blpop):calls=(\d+),.*rejected_calls=(\d+)`).FindAllStringSubmatch(info, -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		ran += n
		n, err = strconv.Atoi(m[2])
		require.NoError(t, err)
		refused += n
	}
	return ran, refused
}

// consumeNumbers handles the events of number.
func consumeNumbers(t *testing.T, d *fanfare.Durable, opts ...fanfare.HandlerOption) *behaviour.Received[int] {
	t.Helper()
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil }, opts...)
	require.NoError(t, err)
	return got
}

func TestRedisLoadsItsData(t *testing.T) {
	t.Parallel()
	const keys, each = 400, 10 * time.Millisecond
	s, log := testsvc.StartRedis(t,
		"--key-load-delay", fmt.Sprint(each.Microseconds()), "--loading-process-events-interval-bytes", "1024"), &behaviour.Logs{}
	d := onRedis(t, s, log.Option())
	got := consumeNumbers(t, d)
	for n := range 20 {
		require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.Delay(time.Second)))
	}
	tell(t, s, "EVAL", "for i = 1, ARGV[1] do redis.call('SET', 'filler' .. i, string.rep('x', 1000)) end", 0, keys)
	tell(t, s, "SAVE")
	require.Empty(t, got.All(), "they are due while it loads")
	s.Kill()
	var restart sync.WaitGroup
	restart.Go(s.Restart)
	behaviour.Eventually(t, func() bool {
		err := number.Dispatch(t.Context(), d, 99)
		if errors.Is(err, fanfare.ErrUnknownOutcome) {
			return false // it was sent before the connection was seen to be cut
		}
		require.ErrorIs(t, err, fanfare.ErrUnavailable)
		return regexp.MustCompile("LOADING").MatchString(err.Error())
	}, "LOADING")
	restart.Wait()
	got.Wait(t, 20)
	drainedOf(t, d)
	require.Len(t, got.All(), 20)
	_, refused := scriptCalls(t, s)
	require.Positive(t, refused)
	require.LessOrEqual(t, refused, 60)
	require.Equal(t, 1, log.Count("does not work"), "one line, not one for each try")
	behaviour.Eventually(t, func() bool { return log.Count("works again") == 1 }, "recovery is logged")
	t.Logf("%d tries were refused while it loaded for %v", refused, keys*each)
}

func TestRedisIsBusyWithAScript(t *testing.T) {
	t.Parallel()
	s, log := testsvc.StartRedis(t), &behaviour.Logs{}
	tell(t, s, "CONFIG", "SET", "lua-time-limit", "100") // busy-reply-threshold, as 6.2 knows it
	d, release := onRedis(t, s, log.Option(), fanfare.WithLease(6*time.Second)), make(chan struct{})
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { <-release; got.Add(n); return nil })
	require.NoError(t, err)
	for n := range 10 {
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	behaviour.Eventually(t, func() bool { return d.Stats().Running == 10 }, "all run")

	endless, err := redis.Dial("tcp", s.Addr)
	require.NoError(t, err)
	defer endless.Close()
	require.NoError(t, endless.Send("EVAL", "while true do end", 0))
	require.NoError(t, endless.Flush())
	behaviour.Eventually(t, func() bool { return d.Health(t.Context()) != nil }, "BUSY")
	err = number.Dispatch(t.Context(), d, 10, fanfare.ID("busy"))
	require.ErrorIs(t, err, fanfare.ErrUnavailable)
	require.ErrorContains(t, err, "BUSY")
	close(release) // their results have to wait
	<-time.After(1500 * time.Millisecond)
	require.Zero(t, d.Stats().Handled)
	tell(t, s, "SCRIPT", "KILL")
	_, err = endless.Receive()
	require.Error(t, err)

	behaviour.Eventually(t, func() bool { return d.Stats().Handled == 10 }, "settled")
	require.NoError(t, number.Dispatch(t.Context(), d, 10, fanfare.ID("busy")))
	got.Wait(t, 11)
	drainedOf(t, d)
	require.Len(t, got.All(), 11, "each is handled once")
	require.Zero(t, d.Stats().LeaseLost)
	require.LessOrEqual(t, log.Count("does not work"), 1)
}

// Redis is away for longer than a lease, with handlers at work: their contexts
// end, and each event is handled again once.
func TestRedisFreezesForLongerThanALease(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s, fanfare.WithLease(time.Second))
	const events = 20
	runs, causes := behaviour.NewReceived[int](), behaviour.NewReceived[error]()
	_, err := number.Register(t.Context(), d, func(ctx context.Context, n int) error {
		if runs.Add(n) > events {
			return nil
		}
		<-ctx.Done()
		causes.Add(context.Cause(ctx))
		return ctx.Err()
	}, fanfare.MaxAttempts(1), fanfare.NoBackoff())
	require.NoError(t, err)
	for n := range events {
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	runs.Wait(t, events)
	s.Pause()
	for _, cause := range causes.Wait(t, events) {
		require.ErrorIs(t, cause, fanfare.ErrLeaseLost)
	}
	<-time.After(time.Second)
	s.Resume()
	drainedOf(t, d)
	require.LessOrEqual(t, len(runs.All()), 2*events, "each once more, at most")
	require.Zero(t, d.Stats().Dead, "a lost lease is no failure")
}

func TestRedisPausesWrites(t *testing.T) {
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	client, err := fanfare.DialRedis(s.URL)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	locker, err := fanfare.NewRedisLocker(client)
	require.NoError(t, err)
	got := consumeNumbers(t, d)
	tell(t, s, "CLIENT", "PAUSE", 2500, "WRITE")
	calls := redisCalls(d, locker)
	delete(calls, "Delete") // or the consumer has no group any more
	delete(calls, "Pause")
	returnInTime(t, 300*time.Millisecond, calls)
	tell(t, s, "CLIENT", "UNPAUSE")
	require.NoError(t, number.Dispatch(t.Context(), d, 7))
	behaviour.Eventually(t, func() bool {
		for _, n := range got.All() {
			if n == 7 {
				return true
			}
		}
		return false
	}, "it works again")
}

func TestRedisTakesNoMoreClients(t *testing.T) {
	t.Parallel()
	s, log := testsvc.StartRedis(t), &behaviour.Logs{}
	d := onRedis(t, s, log.Option())
	got := consumeNumbers(t, d)
	admin, err := redis.Dial("tcp", s.Addr)
	require.NoError(t, err)
	defer admin.Close()
	for n := range 10 {
		require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.Delay(time.Second)))
	}
	_, err = admin.Do("CONFIG", "SET", "maxclients", 1)
	require.NoError(t, err)
	_, err = admin.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	require.NoError(t, err)
	behaviour.Eventually(t, func() bool {
		err := number.Dispatch(t.Context(), d, 99)
		require.True(t, isOutOfReach(err), err)
		return regexp.MustCompile("max number of clients").MatchString(err.Error())
	}, "refused")
	for range 10 {
		require.ErrorIs(t, number.Dispatch(t.Context(), d, 99), fanfare.ErrUnavailable, "no connection that the server closed is used")
	}
	behaviour.Eventually(t, func() bool { return log.Count("does not work") == 1 }, "trouble is logged")
	<-time.After(time.Second)
	_, err = admin.Do("CONFIG", "SET", "maxclients", 1000)
	require.NoError(t, err)
	got.Wait(t, 10)
	drainedOf(t, d)
	require.Len(t, got.All(), 10)
}

// The server of a running consumer becomes a replica, and a primary again.
func TestRedisBecomesAReplicaAndBack(t *testing.T) {
	t.Parallel()
	s, log := testsvc.StartRedis(t), &behaviour.Logs{}
	d := onRedis(t, s, log.Option())
	release, got := make(chan struct{}), behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { <-release; got.Add(n); return nil })
	require.NoError(t, err)
	for n := range 30 {
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	behaviour.Eventually(t, func() bool { return d.Stats().Running == 30 }, "all run")
	tell(t, s, "CONFIG", "RESETSTAT")
	tell(t, s, "REPLICAOF", "127.0.0.1", "1")
	close(release)
	behaviour.Eventually(t, func() bool { return log.Count("does not work") == 1 }, "trouble is logged")
	require.ErrorIs(t, number.Dispatch(t.Context(), d, 99), fanfare.ErrReadOnly, "no connection that the server closed is used")
	<-time.After(2 * time.Second)
	ran, refused := scriptCalls(t, s)
	require.LessOrEqual(t, ran+refused, 40, "claims, results and leases are tried now and then")
	t.Logf("%d calls in about 2s on a replica", ran+refused)
	tell(t, s, "REPLICAOF", "NO", "ONE")
	begin := time.Now()
	drainedOf(t, d)
	require.Less(t, time.Since(begin), 2*time.Second+overrun)
	require.Len(t, got.All(), 30, "each is handled once")
	require.Zero(t, d.Stats().LeaseLost)
}
