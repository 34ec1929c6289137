package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// The tests of this file spoil the network between a dispatcher and its server.

// overrun is how late a call may return after its deadline. The goal is 100ms;
// the rest is for a machine that does other things. A call that obeys no deadline
// takes 5s.
const overrun = 100*time.Millisecond + 2*time.Second

// redisCalls are calls of all that asks the server, about events of number.
func redisCalls(d *fanfare.Durable, l fanfare.Locker) map[string]func(ctx context.Context) error {
	topic, q := number.Name(), d.Queue(number.Name(), "")
	return map[string]func(ctx context.Context) error{
		"Dispatch":      func(ctx context.Context) error { return number.Dispatch(ctx, d, 1) },
		"DispatchBatch": func(ctx context.Context) error { return d.DispatchBatch(ctx, topic, []any{1, 2}) },
		"Register": func(ctx context.Context) error {
			_, err := number.Register(ctx, d, func(context.Context, int) error { return nil }, fanfare.Group("late"))
			return err
		},
		"Cancel":     func(ctx context.Context) error { _, err := d.Cancel(ctx, topic, "x"); return err },
		"Reschedule": func(ctx context.Context) error { _, err := d.Reschedule(ctx, topic, "x", time.Now()); return err },
		"Get":        func(ctx context.Context) error { _, err := d.Get(ctx, topic, "x"); return err },
		"Status":     func(ctx context.Context) error { _, err := d.Status(ctx); return err },
		"Health":     d.Health,
		"Purge":      func(ctx context.Context) error { _, err := d.Purge(ctx, topic); return err },
		"Pause":      func(ctx context.Context) error { return d.Pause(ctx, topic) },
		"Resume":     func(ctx context.Context) error { return d.Resume(ctx, topic) },
		"Create":     q.Create,
		"Delete":     q.Delete,
		"Peek":       func(ctx context.Context) error { _, err := q.Peek(ctx, 0, 1); return err },
		"Dead":       func(ctx context.Context) error { _, err := q.Dead(ctx, 0, 1); return err },
		"Requeue":    func(ctx context.Context) error { return q.Requeue(ctx, "x") },
		"DeleteDead": func(ctx context.Context) error { _, err := q.DeleteDead(ctx, "x"); return err },
		"Claim":      func(ctx context.Context) error { _, err := q.Claim(ctx, 1, time.Second); return err },
		"Acquire":    func(ctx context.Context) error { _, err := l.Acquire(ctx, "x"); return err },
		"TryAcquire": func(ctx context.Context) error { _, err := l.TryAcquire(ctx, "x"); return err },
	}
}

// returnInTime requires that all calls fail by a deadline, and returns the
// longest that one took.
func returnInTime(t *testing.T, timeout time.Duration, calls map[string]func(ctx context.Context) error) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	longest, slowest := time.Duration(0), ""
	for name, call := range calls {
		all.Go(func() {
			ctx, cancel := contextFor(timeout)
			defer cancel()
			begin := time.Now()
			err := call(ctx)
			took := time.Since(begin)
			if err == nil || took > timeout+overrun {
				t.Errorf("%s = %v after %v, want an error by %v", name, err, took, timeout)
			}
			mu.Lock()
			defer mu.Unlock()
			if took > longest {
				longest, slowest = took, name
			}
		})
	}
	all.Wait()
	t.Logf("%d calls with a deadline of %v, the longest, %s, took %v", len(calls), timeout, slowest, longest)
}

// openOnBoth returns dispatchers on a server, and on it through a proxy.
func openOnBoth(t *testing.T, opts ...fanfare.Option) (*testsvc.Server, *proxy, *fanfare.Durable, *fanfare.Durable) {
	t.Helper()
	s := testsvc.StartRedis(t)
	p := startProxy(t, s.Addr)
	return s, p, onRedis(t, s, opts...), p.open(t, opts...)
}

func TestCallsOverAHalfOpenConnectionReturnInTime(t *testing.T) {
	for name, spoil := range map[string]func(p *proxy){
		"nothing passes": func(p *proxy) { p.swallowRequests.Store(true); p.swallowReplies.Store(true) },
		"no reply":       func(p *proxy) { p.swallowReplies.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			s, p, direct, d := openOnBoth(t)
			client, err := fanfare.DialRedis(p.addr)
			require.NoError(t, err)
			t.Cleanup(func() { client.Close() })
			locker, err := fanfare.NewRedisLocker(client)
			require.NoError(t, err)
			require.NoError(t, d.Queue(number.Name(), "").Create(t.Context()))
			spoil(p)
			returnInTime(t, 300*time.Millisecond, redisCalls(d, locker))

			p.heal()
			tell(t, s, "FLUSHALL")
			got := behaviour.NewReceived[int]()
			require.NoError(t, number.Dispatch(t.Context(), direct, 7))
			fresh := p.open(t)
			_, err = number.Register(t.Context(), fresh, func(_ context.Context, n int) error { got.Add(n); return nil })
			require.NoError(t, err)
			require.Equal(t, []int{7}, got.Wait(t, 1))
		})
	}
}

// A consumer whose network swallows everything sees what came meanwhile soon
// after it is back, though its connections look sound.
func TestHalfOpenConnectionsAreGivenUp(t *testing.T) {
	t.Parallel()
	_, p, direct, d := openOnBoth(t)
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), direct, 1))
	got.Wait(t, 1)
	p.swallowRequests.Store(true)
	p.swallowReplies.Store(true)
	require.NoError(t, number.Dispatch(t.Context(), direct, 2))
	<-time.After(time.Second)
	p.swallowRequests.Store(false) // and no connection is broken
	p.swallowReplies.Store(false)
	require.Equal(t, []int{1, 2}, got.Wait(t, 2))
}

func TestLostRepliesLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	_, p, direct, d := openOnBoth(t, fanfare.WithLease(3*time.Second))
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	producer, accepted := p.open(t), 0
	for round := range 5 {
		p.swallowReplies.Store(true)
		for n := round * 4; n < round*4+4; n++ {
			ctx, cancel := contextFor(60 * time.Millisecond)
			err := number.Dispatch(ctx, producer, n, fanfare.ID(fmt.Sprint(n)))
			cancel()
			require.True(t, errors.Is(err, fanfare.ErrUnknownOutcome) || errors.Is(err, fanfare.ErrUnavailable), err)
		}
		p.heal()
		for n := round * 4; n < round*4+4; n++ { // repeated, as a caller would
			acceptAtLast(t, producer, n)
			accepted++
		}
	}
	got.Wait(t, accepted)
	drainedOf(t, direct)
	require.Len(t, got.All(), accepted, "each is handled once")
}

// acceptAtLast dispatches n, under its own id, until it is there.
func acceptAtLast(t *testing.T, d *fanfare.Durable, n int) {
	t.Helper()
	behaviour.Eventually(t, func() bool {
		ctx, cancel := contextFor(time.Second)
		defer cancel()
		err := number.Dispatch(ctx, d, n, fanfare.ID(fmt.Sprint(n)))
		return err == nil || errors.Is(err, fanfare.ErrDuplicate)
	}, "accepted")
}

// drainedOf waits until nothing of number waits or runs.
func drainedOf(t *testing.T, d *fanfare.Durable) {
	t.Helper()
	require.Eventually(t, func() bool {
		all, err := d.Status(t.Context(), number.Name())
		if err != nil {
			return false
		}
		left := 0
		for _, s := range all {
			left += s.Ready + s.Delayed + s.Running
		}
		return left == 0
	}, 30*time.Second, 20*time.Millisecond, "drained")
}

func TestSlowNetworkCostsNoLease(t *testing.T) {
	t.Parallel()
	_, p, direct, d := openOnBoth(t, fanfare.WithLease(4*time.Second))
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(ctx context.Context, n int) error {
		if n == 0 {
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		got.Add(n)
		return nil
	})
	require.NoError(t, err)
	p.delay.Store(int64(100 * time.Millisecond)) // each way
	for n := range 10 {
		require.NoError(t, number.Dispatch(t.Context(), direct, n))
	}
	got.Wait(t, 10)
	drainedOf(t, direct)
	require.Len(t, got.All(), 10)
	require.Zero(t, d.Stats().LeaseLost)
	behaviour.Eventually(t, func() bool { return d.Stats().Handled == 10 }, "the last answer")
}

func TestRepliesThatAreCutLoseNothing(t *testing.T) {
	t.Parallel()
	_, p, direct, d := openOnBoth(t, fanfare.WithLease(3*time.Second))
	got := behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil }, fanfare.Concurrency(5))
	require.NoError(t, err)
	producer, random := p.open(t), rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		p.cut.Store(1 + random.Int64N(400))
		ctx, cancel := contextFor(time.Second)
		_ = number.Dispatch(ctx, producer, n, fanfare.ID(fmt.Sprint(n)))
		cancel()
	}
	p.heal()
	for n := range 60 {
		acceptAtLast(t, producer, n)
	}
	got.Wait(t, 60)
	drainedOf(t, direct)
	require.Len(t, got.All(), 60, "each is handled once")
}

func TestConnectionsThatAreCutLoseNothing(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d, got := onRedis(t, s, fanfare.WithLease(2*time.Second)), behaviour.NewReceived[int]()
	_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
	require.NoError(t, err)
	for n := range 300 {
		if n%3 == 0 {
			tell(t, s, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}
		acceptAtLast(t, d, n)
	}
	got.Wait(t, 300)
	drainedOf(t, d)
	require.Len(t, got.All(), 300, "each is handled once")
}

// Handlers that dispatch share two connections with all that their dispatcher
// itself has to say.
func TestHandlersThatDispatchOverASmallPool(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	pool := &redis.Pool{MaxActive: 2, MaxIdle: 2, Wait: true, Dial: func() (redis.Conn, error) {
		return redis.Dial("tcp", s.Addr, redis.DialConnectTimeout(time.Second), redis.DialWriteTimeout(time.Second))
	}}
	t.Cleanup(func() { pool.Close() })
	d, err := fanfare.NewRedis(fanfare.RedigoPool(pool), fanfare.WithLease(3*time.Second))
	require.NoError(t, err)
	behaviour.StopWith(t, d)
	const parents = 50
	got, gate := behaviour.NewReceived[int](), make(chan struct{})
	_, err = number.Register(t.Context(), d, func(ctx context.Context, n int) error {
		if n < parents {
			<-gate
			if err := number.Dispatch(ctx, d, n+parents, fanfare.ID(fmt.Sprint(n+parents))); err != nil && !errors.Is(err, fanfare.ErrDuplicate) {
				return err
			}
		}
		got.Add(n)
		return nil
	}, fanfare.Concurrency(parents))
	require.NoError(t, err)
	for n := range parents {
		require.NoError(t, number.Dispatch(t.Context(), onRedis(t, s), n))
	}
	behaviour.Eventually(t, func() bool { return d.Stats().Running == parents }, "all run")
	close(gate) // all at once
	got.Wait(t, 2*parents)
	drainedOf(t, onRedis(t, s))
	require.Len(t, got.All(), 2*parents)
	require.Zero(t, d.Stats().LeaseLost)
}
