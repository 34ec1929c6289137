package fanfare_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// The tests of this file hurt a Redis server of their own.

// onRedis opens a dispatcher on a server, and a connection to tell the server things.
func onRedis(t *testing.T, s *testsvc.Server, opts ...fanfare.Option) *fanfare.Durable {
	t.Helper()
	d, err := fanfare.OpenRedis(s.URL, opts...)
	require.NoError(t, err)
	behaviour.StopWith(t, d)
	return d
}

// tell runs a command on the server and returns its answer.
func tell(t *testing.T, s *testsvc.Server, command string, args ...any) any {
	t.Helper()
	c, err := redis.Dial("tcp", s.Addr)
	require.NoError(t, err)
	defer c.Close()
	reply, err := c.Do(command, args...)
	require.NoError(t, err)
	return reply
}

func TestRedisDownAtStart(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	s.Kill()
	d := onRedis(t, s)
	ctx, cancel := contextFor(2 * time.Second)
	defer cancel()
	begin := time.Now()
	require.ErrorIs(t, number.Dispatch(ctx, d, 1), fanfare.ErrUnavailable)
	_, err := number.Register(ctx, d, func(context.Context, int) error { return nil })
	require.ErrorIs(t, err, fanfare.ErrUnavailable)
	require.Error(t, d.Health(ctx))
	require.Less(t, time.Since(begin), 3*time.Second)
	s.Restart()
	got := behaviour.NewReceived[int]()
	_, err = number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), d, 1))
	got.Wait(t, 1)
}

func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	s, log := testsvc.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always"), &behaviour.Logs{}
	d := onRedis(t, s, log.Option())
	got := behaviour.NewReceived[int]()
	for _, topic := range []string{"a", "b", "c"} {
		_, err := fanfare.NewTopic[int](topic).Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
		require.NoError(t, err)
	}
	a := fanfare.NewTopic[int]("a")
	require.NoError(t, a.Dispatch(t.Context(), d, 1))
	require.NoError(t, a.Dispatch(t.Context(), d, 2, fanfare.Delay(1500*time.Millisecond), fanfare.ID("later")))
	got.Wait(t, 1)
	for range 2 {
		s.Kill()
		require.Error(t, a.Dispatch(t.Context(), d, 0))
		behaviour.Eventually(t, func() bool { return log.Count("does not work") > log.Count("works again") }, "trouble is logged")
		s.Restart()
		behaviour.Eventually(t, func() bool { return log.Count("does not work") == log.Count("works again") }, "recovery is logged")
	}
	require.NoError(t, a.Dispatch(t.Context(), d, 3))
	require.ElementsMatch(t, []int{1, 2, 3}, got.Wait(t, 3))
	require.Equal(t, 2, log.Count("does not work"))
	require.ErrorIs(t, a.Dispatch(t.Context(), d, 0, fanfare.ID("later")), fanfare.ErrDuplicate, "the window survives too")
}

func TestRedisFreezes(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	require.NoError(t, number.Dispatch(t.Context(), d, 1))
	s.Pause()
	for range 3 {
		ctx, cancel := contextFor(200 * time.Millisecond)
		begin := time.Now()
		err := number.Dispatch(ctx, d, 2, fanfare.ID("same"))
		cancel()
		require.Less(t, time.Since(begin), time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, errors.Is(err, fanfare.ErrUnknownOutcome) || errors.Is(err, fanfare.ErrUnavailable), err)
	}
	s.Resume()
	err := number.Dispatch(t.Context(), d, 2, fanfare.ID("same"))
	require.True(t, err == nil || errors.Is(err, fanfare.ErrDuplicate), err)
	status, err := d.Status(t.Context(), number.Name())
	require.NoError(t, err)
	require.Equal(t, 2, status[0].Ready, "repeating the dispatch stored it once")
}

func TestRedisOutOfMemoryGoesOnDraining(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	for n := range 50 {
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	tell(t, s, "CONFIG", "SET", "maxmemory", "1")
	require.ErrorIs(t, number.Dispatch(t.Context(), d, 99), fanfare.ErrBackendFull)
	failed := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), onRedis(t, s), func(_ context.Context, n int) error {
		if n == 7 && failed.Add(n) < 3 {
			return errors.New("not yet")
		}
		return nil
	}, fanfare.Fixed(50*time.Millisecond))
	require.ErrorIs(t, err, fanfare.ErrBackendFull, "a new group needs memory")

	tell(t, s, "CONFIG", "SET", "maxmemory", "0")
	consumer := onRedis(t, s)
	require.NoError(t, consumer.Pause(t.Context(), number.Name()))
	_, err = number.Register(t.Context(), consumer, func(_ context.Context, n int) error {
		if n == 7 && failed.Add(n) < 3 {
			return errors.New("not yet")
		}
		return nil
	}, fanfare.Fixed(50*time.Millisecond))
	require.NoError(t, err)
	tell(t, s, "CONFIG", "SET", "maxmemory", "1")
	require.NoError(t, consumer.Resume(t.Context(), number.Name()))
	behaviour.Eventually(t, func() bool { return consumer.Stats().Handled == 50 }, "drained")
	require.EqualValues(t, 2, consumer.Stats().Retried)
	tell(t, s, "CONFIG", "SET", "maxmemory", "0")
}

func TestRedisReplicaIsReadOnly(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	tell(t, s, "REPLICAOF", "127.0.0.1", "1")
	err = number.Dispatch(t.Context(), d, 1)
	require.ErrorIs(t, err, fanfare.ErrReadOnly)
	require.ErrorIs(t, err, fanfare.ErrUnavailable)
	tell(t, s, "REPLICAOF", "NO", "ONE")
	require.NoError(t, number.Dispatch(t.Context(), d, 2))
	require.Equal(t, []int{2}, got.Wait(t, 1))
}

func TestRedisForgetsScripts(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	for n := range 50 {
		tell(t, s, "SCRIPT", "FLUSH")
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	got.Wait(t, 50)
	behaviour.Eventually(t, func() bool { return d.Stats().Handled == 50 }, "handled")
}

func TestIdleRedisConsumerAsksSeldom(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	for _, topic := range []string{"a", "b", "c", "d", "e"} {
		_, err := fanfare.NewTopic[int](topic).Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err)
	}
	calls := func() (sum int) {
		info, err := redis.String(tell(t, s, "INFO", "commandstats"), nil)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`cmdstat_(?:eval|evalsha|blpop):calls=(\d+)`).FindAllStringSubmatch(info, -1) {
			n, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			sum += n
		}
		return sum
	}
	tell(t, s, "CONFIG", "RESETSTAT")
	timer := time.NewTimer(6 * time.Second)
	<-timer.C
	require.LessOrEqual(t, calls(), 5*(6+2), "about one a second and topic")
	require.NotZero(t, calls())
	t.Logf("%d calls for 5 topics in 6s", calls())
}

func TestRedisIsOnTime(t *testing.T) {
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	topic, got := fanfare.NewTopic[time.Time]("on time"), behaviour.NewReceived[time.Duration]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, due time.Time) error {
		got.Add(time.Since(due))
		return nil
	})
	require.NoError(t, err)
	for i := range 20 { // far enough apart for the consumer to fall asleep between them
		delay := time.Duration(i) * 97 * time.Millisecond
		require.NoError(t, topic.Dispatch(t.Context(), d, time.Now().Add(delay).Round(0), fanfare.Delay(delay)))
	}
	late := got.Wait(t, 20)
	slices.Sort(late)
	require.GreaterOrEqual(t, late[0], time.Duration(0), "never early")
	require.Less(t, late[10], 40*time.Millisecond, "woken when it is due, not by the next look: %v", late)
	t.Logf("late: median %v, greatest %v", late[10], late[19])
}

func TestStopReturnsThoughRedisHangs(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	s.Pause()
	registered := make(chan error, 1)
	go func() {
		_, err := number.Register(context.Background(), d, func(context.Context, int) error { return nil }, fanfare.Group("late"))
		registered <- err
	}()
	<-time.After(2500 * time.Millisecond) // a claim is under way by now
	ctx, cancel := contextFor(200 * time.Millisecond)
	defer cancel()
	begin := time.Now()
	_ = d.Stop(ctx)
	require.Less(t, time.Since(begin), time.Second)
	require.Error(t, <-registered)
	s.Resume()
}

func TestARefusedQueueHidesNoOutage(t *testing.T) {
	t.Parallel()
	s, log := testsvc.StartRedis(t), &behaviour.Logs{}
	tell(t, s, "SET", "fanfare:{broken}:default:l", "not ours")
	d := onRedis(t, s, log.Option())
	for _, topic := range []string{"broken", "sound"} {
		_, err := fanfare.NewTopic[int](topic).Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err)
	}
	behaviour.Eventually(t, func() bool { return log.Count("backend refuses") == 1 }, "refusal")
	s.Kill()
	behaviour.Eventually(t, func() bool { return log.Count("does not work") == 1 }, "outage")
	s.Restart() // without what it held
	behaviour.Eventually(t, func() bool { return log.Count("works again") == 1 }, "recovery")
}

// A process whose handlers are busy takes no wake token from one that is free.
func TestRedisWakesWhoIsFree(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	busy, late := make(chan struct{}), make(chan time.Duration)
	defer close(busy)
	for range 2 {
		_, err := number.Register(t.Context(), onRedis(t, s), func(ctx context.Context, n int) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			late <- time.Since(info.DueAt)
			if n == 0 {
				<-busy
			}
			return nil
		}, fanfare.Concurrency(1))
		require.NoError(t, err)
	}
	d := onRedis(t, s)
	for n := range 5 {
		behaviour.Eventually(t, func() bool {
			return !strings.Contains(string(tell(t, s, "INFO", "clients").([]byte)), "blocked_clients:0")
		}, "who is free waits")
		require.NoError(t, number.Dispatch(t.Context(), d, n))
		require.Less(t, <-late, time.Second)
	}
}
