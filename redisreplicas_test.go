package fanfare_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// startReplicas starts a Redis with n replicas that are in step with it.
func startReplicas(t *testing.T, n int) (primary *testsvc.Server, replicas []*testsvc.Server) {
	t.Helper()
	primary = testsvc.StartRedis(t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(primary.Addr)
	require.NoError(t, err)
	for range n {
		replicas = append(replicas, testsvc.StartRedis(t, "--replicaof", host, port))
	}
	c, err := redis.Dial("tcp", primary.Addr)
	require.NoError(t, err)
	defer c.Close()
	behaviour.Eventually(t, func() bool {
		_, err := c.Do("SET", "step", n)
		require.NoError(t, err)
		confirmed, err := redis.Int(c.Do("WAIT", n, 1000))
		require.NoError(t, err)
		return confirmed == n
	}, "replicas are in step")
	return primary, replicas
}

func TestRedisWaitsForReplicas(t *testing.T) {
	t.Parallel()
	primary, replicas := startReplicas(t, 2)
	d := onRedis(t, primary, fanfare.WithReplicas(2, 4*time.Second))
	found, err := d.Durability(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, found.Replicas)
	for n := range 20 {
		require.NoError(t, number.Dispatch(t.Context(), d, n))
	}
	require.NoError(t, d.DispatchBatch(t.Context(), number.Name(), many(1200)))

	primary.Kill() // and with it all that it has not told its replicas
	for _, r := range replicas {
		tell(t, r, "REPLICAOF", "NO", "ONE")
		status, err := onRedis(t, r).Status(t.Context(), number.Name())
		require.NoError(t, err)
		require.Equal(t, 1220, status[0].Ready)
	}
}

func many(n int) []any {
	events := make([]any, n)
	for i := range events {
		events[i] = i
	}
	return events
}

func TestRedisTellsOfReplicasThatLag(t *testing.T) {
	t.Parallel()
	const patience = 200 * time.Millisecond
	primary, replicas := startReplicas(t, 1)
	d := onRedis(t, primary, fanfare.WithReplicas(1, patience))
	dispatch := func(id string) error {
		return number.Dispatch(t.Context(), d, 1, fanfare.ID(id))
	}
	lags := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, fanfare.ErrUnknownOutcome)
		require.NotErrorIs(t, err, fanfare.ErrDuplicate)
		require.NotErrorIs(t, err, fanfare.ErrUnavailable)
		require.ErrorContains(t, err, "confirmed by 0 of 1 replicas within 200ms")
	}
	err := dispatch("a")
	require.True(t, err == nil || errors.Is(err, fanfare.ErrUnknownOutcome), err) // on a busy machine
	replicas[0].Pause()
	begin := time.Now()
	lags(dispatch("b"))
	require.GreaterOrEqual(t, time.Since(begin), patience)
	lags(dispatch("b"))
	lags(dispatch("a")) // it may be another one by now
	lags(number.Dispatch(t.Context(), d, 1))
	var batch *fanfare.BatchError
	err = d.DispatchBatch(t.Context(), number.Name(), many(1200))
	require.ErrorAs(t, err, &batch)
	lags(batch.Errs[0])
	lags(batch.Errs[499])
	require.ErrorIs(t, batch.Errs[500], fanfare.ErrUnavailable, "not sent")

	status, err := d.Status(t.Context(), number.Name())
	require.NoError(t, err)
	require.Equal(t, 3+500, status[0].Ready, "the primary has them")
	replicas[0].Resume()
	for _, id := range []string{"a", "b"} {
		behaviour.Eventually(t, func() bool { err = dispatch(id); return errors.Is(err, fanfare.ErrDuplicate) }, "its replica has it too")
		require.NotErrorIs(t, err, fanfare.ErrUnknownOutcome)
	}
}

// The server's answer that replicas lag arrives before the caller gives up.
func TestRedisWaitsForReplicasWithinTheContext(t *testing.T) {
	t.Parallel()
	primary, replicas := startReplicas(t, 1)
	d := onRedis(t, primary, fanfare.WithReplicas(1, 4*time.Second))
	require.NoError(t, number.Dispatch(t.Context(), d, 1))
	replicas[0].Pause()
	defer replicas[0].Resume()
	ctx, cancel := contextFor(2 * time.Second)
	defer cancel()
	err := number.Dispatch(ctx, d, 1)
	require.ErrorIs(t, err, fanfare.ErrUnknownOutcome)
	require.ErrorContains(t, err, "0 of 1 replicas")
	require.NoError(t, ctx.Err())
}

func TestRedisWithoutReplicas(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s, fanfare.WithReplicas(1, time.Millisecond))
	found, err := d.Durability(t.Context())
	require.NoError(t, err)
	require.Contains(t, strings.Join(found.Reasons, "\n"), "0 connected")
	require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrUnknownOutcome)
	tell(t, s, "SCRIPT", "FLUSH")
	require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrUnknownOutcome)
	tell(t, s, "CONFIG", "SET", "maxmemory", "1")
	err = number.Dispatch(t.Context(), d, 1)
	require.ErrorIs(t, err, fanfare.ErrBackendFull)
	require.NotErrorIs(t, err, fanfare.ErrUnknownOutcome)
	tell(t, s, "CONFIG", "SET", "maxmemory", "0")

	other := onRedis(t, s) // the groups that d remembers are no longer those there are
	_, err = number.Register(t.Context(), other, func(context.Context, int) error { return errors.New("later") }, fanfare.Group("new"))
	require.NoError(t, err)
	require.ErrorIs(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("for new")), fanfare.ErrUnknownOutcome)
	_, err = other.Queue(number.Name(), "new").Get(t.Context(), "for new")
	require.NoError(t, err)
}
