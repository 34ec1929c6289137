package fanfare_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// redisTiers are the rows of the table in the README, and what is beside them.
var redisTiers = []struct {
	args   string // of redis-server
	level  fanfare.DurabilityLevel
	reason string
}{
	{"--maxmemory-policy allkeys-lru --maxmemory 100mb --appendonly yes --appendfsync always", fanfare.DurabilityNone, "needed: noeviction"},
	{"--maxmemory-policy allkeys-random --maxmemory 100mb", fanfare.DurabilityNone, "allkeys-random"},
	{"--maxmemory-policy allkeys-lfu", fanfare.DurabilityProcess, "maxmemory is 0"},
	{"--maxmemory-policy volatile-lru --maxmemory 100mb", fanfare.DurabilityProcess, "locks"},
	{"", fanfare.DurabilityProcess, `save ""`},
	{"--save 3600 1", fanfare.DurabilitySnapshot, "save 3600 1"},
	{"--appendonly yes --appendfsync no", fanfare.DurabilitySnapshot, "appendfsync no"},
	{"--appendonly yes --appendfsync always --no-appendfsync-on-rewrite yes", fanfare.DurabilitySnapshot, "no-appendfsync-on-rewrite"},
	{"--appendonly yes --appendfsync everysec", fanfare.DurabilitySeconds, "about the last 2 s"},
	{"--appendonly yes --min-replicas-to-write 1 --min-replicas-max-lag 2", fanfare.DurabilitySeconds, "a failover loses about the last 2 s + 1 s"},
	{"--appendonly yes --appendfsync always", fanfare.DurabilitySynced, "loses nothing"},
}

func TestRedisDurabilityByConfiguration(t *testing.T) {
	t.Parallel()
	for _, tt := range redisTiers {
		s := testsvc.StartRedis(t, redisArgs(tt.args)...)
		d := onRedis(t, s)
		got, err := d.Durability(t.Context())
		require.NoError(t, err)
		require.Equal(t, tt.level, got.Level, "%s: %q", tt.args, got.Reasons)
		require.Contains(t, strings.Join(got.Reasons, "\n"), tt.reason)
		t.Logf("%s: %v %q", tt.args, got.Level, got.Reasons)
		err = number.Dispatch(t.Context(), d, 1)
		if tt.level == fanfare.DurabilityNone {
			require.ErrorIs(t, err, fanfare.ErrNotDurable)
			d = onRedis(t, s, fanfare.RequireDurability(fanfare.DurabilityNone))
			require.NoError(t, number.Dispatch(t.Context(), d, 1))
		} else if !strings.Contains(tt.args, "min-replicas-to-write") { // it takes no writes without them
			require.NoError(t, err)
		}
	}
}

// redisArgs splits a command line; the values of save and maxmemory go together.
func redisArgs(line string) []string {
	var args []string
	for _, part := range strings.Split(line, "--")[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(part), " ")
		args = append(args, "--"+name, value)
	}
	return args
}

func TestRedisDurabilityIsLoggedOnce(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t, "--save", "3600 1")
	for name, use := range map[string]func(*fanfare.Durable) error{
		"producer": func(d *fanfare.Durable) error { return number.Dispatch(t.Context(), d, 1) },
		"consumer": func(d *fanfare.Durable) error {
			_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil }, fanfare.Group(fanfare.NewID()))
			return err
		},
	} {
		var log behaviour.Logs
		d := onRedis(t, s, log.Option())
		require.Zero(t, log.Count("durability"), name)
		for range 3 {
			require.NoError(t, use(d), name)
		}
		require.Equal(t, 1, log.Count(durabilityLine), name)
		require.Equal(t, 1, log.Count("level=WARN"), name)
		require.Equal(t, 1, log.Count("level=snapshot"), name)
	}
}

// What is set while the server runs counts, here at once since it is asked for.
func TestRedisDurabilityAtRunTime(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	d := onRedis(t, s, fanfare.RequireDurability(fanfare.DurabilitySynced))
	require.NoError(t, number.Dispatch(t.Context(), d, 1))
	for _, tt := range []struct {
		bad, good []any
		level     fanfare.DurabilityLevel
	}{
		{[]any{"SET", "appendfsync", "everysec"}, []any{"SET", "appendfsync", "always"}, fanfare.DurabilitySeconds},
		{[]any{"SET", "appendonly", "no"}, []any{"SET", "appendonly", "yes"}, fanfare.DurabilityProcess},
		{[]any{"SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb"}, []any{"SET", "maxmemory-policy", "noeviction"}, fanfare.DurabilityNone},
	} {
		tell(t, s, "CONFIG", tt.bad...)
		got, err := d.Durability(t.Context())
		require.NoError(t, err)
		require.Equal(t, tt.level, got.Level, "%v", tt.bad)
		require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrNotDurable)
		require.ErrorIs(t, d.DispatchBatch(t.Context(), number.Name(), []any{1}), fanfare.ErrNotDurable)
		_, err = number.Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.ErrorIs(t, err, fanfare.ErrNotDurable)
		require.ErrorIs(t, d.Health(t.Context()), fanfare.ErrNotDurable)

		tell(t, s, "CONFIG", tt.good...)
		_, err = d.Durability(t.Context())
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		require.NoError(t, d.Health(t.Context()))
	}
}

// The bound is in real time, with nobody asking.
func TestRedisEvictionIsFoundWithinAMinute(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	s, log := testsvc.StartRedis(t, "--maxmemory", "100mb"), &behaviour.Logs{}
	d, producer := onRedis(t, s, log.Option()), onRedis(t, s)
	_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), producer, 1))
	tell(t, s, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	begin, tick := time.Now(), time.NewTicker(250*time.Millisecond)
	defer tick.Stop()
	for log.Count("level=ERROR") == 0 || number.Dispatch(t.Context(), producer, 1) == nil {
		require.Less(t, time.Since(begin), time.Minute)
		<-tick.C
	}
	t.Logf("found after %v", time.Since(begin))
	require.ErrorIs(t, number.Dispatch(t.Context(), producer, 1), fanfare.ErrNotDurable)
	require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrNotDurable)
	require.ErrorIs(t, d.Health(t.Context()), fanfare.ErrNotDurable)
	require.Equal(t, 1, log.Count("level=ERROR"))
}

// leastPrivilege returns the rule for a user of Redis that the README gives.
func leastPrivilege(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	rule := regexp.MustCompile("(?s)```\n(resetkeys .*?)```").FindSubmatch(text)
	require.NotNil(t, rule)
	return string(rule[1])
}

func withUser(t *testing.T, s *testsvc.Server, rules string) string {
	t.Helper()
	args := []any{"SETUSER", "worker", "reset", "on", ">hunter2"}
	for _, r := range strings.Fields(rules) {
		args = append(args, r)
	}
	tell(t, s, "ACL", args...)
	return "redis://worker:hunter2@" + s.Addr
}

func openAt(t *testing.T, address string, opts ...fanfare.Option) *fanfare.Durable {
	t.Helper()
	d, err := fanfare.OpenRedis(address, opts...)
	require.NoError(t, err)
	behaviour.StopWith(t, d)
	return d
}

func TestRedisDurabilityThatIsDenied(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	rule, log := leastPrivilege(t), &behaviour.Logs{}
	url := withUser(t, s, rule)
	d, got := openAt(t, url, log.Option()), behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	for n := range 3 {
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	got.Wait(t, 3)
	require.NoError(t, d.Health(t.Context()))
	require.Equal(t, 1, log.Count(durabilityLine))
	require.Equal(t, 1, log.Count("level=WARN"))
	require.Zero(t, log.Count("hunter2"))
	found, err := d.Durability(t.Context())
	require.NoError(t, err)
	require.Equal(t, fanfare.DurabilityUnknown, found.Level)

	err = number.Dispatch(t.Context(), openAt(t, url, fanfare.RequireDurability(fanfare.DurabilityProcess)), 1)
	require.ErrorIs(t, err, fanfare.ErrNotDurable)
	require.ErrorContains(t, err, "+config|get +info")
	err = number.Dispatch(t.Context(), openAt(t, url, fanfare.WithReplicas(1, time.Millisecond)), 1)
	require.ErrorIs(t, err, fanfare.ErrUnknownOutcome)
	require.ErrorContains(t, err, "WAIT is refused")

	url = withUser(t, s, rule+" +info")
	tell(t, s, "CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
	require.ErrorIs(t, number.Dispatch(t.Context(), openAt(t, url), 1), fanfare.ErrNotDurable, "INFO tells of eviction")
	tell(t, s, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	url = withUser(t, s, rule+" +info +config|get")
	require.NoError(t, number.Dispatch(t.Context(), openAt(t, url, fanfare.RequireDurability(fanfare.DurabilitySynced)), 1))
}

func TestDurabilityOfMiniredisIsUnknown(t *testing.T) {
	var log behaviour.Logs
	d := openAt(t, miniredis.RunT(t).Addr(), log.Option())
	for range 3 {
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
	}
	found, err := d.Durability(t.Context())
	require.NoError(t, err)
	require.Equal(t, fanfare.DurabilityUnknown, found.Level, fmt.Sprint(found))
	require.Equal(t, 1, log.Count(durabilityLine))
}

func TestRequireDurabilityOfABatch(t *testing.T) {
	t.Parallel()
	d := onRedis(t, testsvc.StartRedis(t), fanfare.RequireDurability(fanfare.DurabilityProcess))
	require.NoError(t, d.DispatchBatch(t.Context(), number.Name(), []any{1, 2}), "the first call asks")
}

func TestDurabilityOfARedisThatIsDown(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s, fanfare.RequireDurability(fanfare.DurabilityProcess))
	s.Kill()
	_, err := d.Durability(t.Context())
	require.ErrorIs(t, err, fanfare.ErrUnavailable)
	require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrUnavailable)
	s.Restart()
	require.NoError(t, number.Dispatch(t.Context(), d, 1))
	require.NoError(t, d.Stop(t.Context()))
	_, err = d.Durability(t.Context())
	require.ErrorIs(t, err, fanfare.ErrStopped)
}
