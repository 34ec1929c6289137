package fanfare_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
)

// leaveBehind dispatches events that a process claims and does not live to settle,
// so many times.
func leaveBehind(t *testing.T, d *fanfare.Durable, b *faulty, events, times int) {
	t.Helper()
	for n := range events {
		require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.ID(fmt.Sprint(n))))
	}
	for range times {
		c, err := b.Memory.Claim(t.Context(), driver.Queue{Topic: number.Name(), Group: "default"},
			driver.ClaimRequest{Limit: events, Lease: time.Second})
		require.NoError(t, err)
		require.Len(t, c.Deliveries, events)
		pass(time.Second)
	}
}

func TestSuspectsRunAlone(t *testing.T) {
	for lost, want := range map[int]int64{0: 8, 1: 8, 2: 1, 9: 1} {
		inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
			leaveBehind(t, d, b, 8, lost)
			var running, most, handled atomic.Int64
			_, err := number.Register(t.Context(), d, func(context.Context, int) error {
				most.Store(max(most.Load(), running.Add(1)))
				<-time.After(10 * time.Millisecond)
				running.Add(-1)
				handled.Add(1)
				return nil
			})
			require.NoError(t, err)
			pass(200 * time.Millisecond)
			require.EqualValues(t, 8, handled.Load())
			require.Equal(t, want, most.Load(), "after %d lost leases", lost)
		})
	}
}

func TestSuspectHoldsNothingUpForLong(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		leaveBehind(t, d, b, 1, 2)
		var others atomic.Int64
		_, err := number.Register(t.Context(), d, func(ctx context.Context, n int) error {
			if n == 0 {
				<-ctx.Done() // until Stop
				return ctx.Err()
			}
			others.Add(1)
			return nil
		}, fanfare.Lease(10*time.Second), fanfare.Concurrency(2))
		require.NoError(t, err)
		pass(time.Second)
		for n := range 5 {
			require.NoError(t, number.Dispatch(t.Context(), d, n+1))
		}
		pass(900 * time.Millisecond)
		require.Zero(t, others.Load(), "the suspect is alone")
		pass(200 * time.Millisecond)
		require.EqualValues(t, 5, others.Load())
	})
}

func TestSuspectWaitsForOthersAMoment(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		leaveBehind(t, d, b, 1, 2)
		require.NoError(t, number.Dispatch(t.Context(), d, 99, fanfare.High))
		var suspect atomic.Bool
		_, err := number.Register(t.Context(), d, func(ctx context.Context, n int) error {
			if n == 99 {
				<-ctx.Done()
				return ctx.Err()
			}
			suspect.Store(true)
			return nil
		}, fanfare.Lease(10*time.Second), fanfare.Concurrency(2))
		require.NoError(t, err)
		pass(1900 * time.Millisecond)
		require.False(t, suspect.Load())
		pass(200 * time.Millisecond)
		require.True(t, suspect.Load())
	})
}

func TestStopGivesSuspectsBack(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		leaveBehind(t, d, b, 3, 2)
		_, err := number.Register(t.Context(), d, func(ctx context.Context, n int) error {
			<-ctx.Done()
			return ctx.Err()
		}, fanfare.Concurrency(2))
		require.NoError(t, err)
		pass(time.Second)
		ctx, cancel := contextFor(time.Second)
		defer cancel()
		_ = d.Stop(ctx) // tells what it gave back
		s, err := b.Status(t.Context(), number.Name())
		require.NoError(t, err)
		require.Equal(t, 3, s[0].Ready)
	})
}

// late is a broker whose answers to claims come late.
type late struct {
	*faulty
	by time.Duration
}

func (l *late) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	c, err := l.faulty.Claim(ctx, q, r)
	if len(c.Deliveries) > 0 {
		<-time.After(l.by)
		l.by = 0
	}
	return c, err
}

func TestClaimThatIsAnsweredTooLateStartsNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, _ *fanfare.Durable, b *faulty) {
		d, err := fanfare.New(&late{b, 1900 * time.Millisecond}, fanfare.WithLease(2*time.Second))
		require.NoError(t, err)
		defer func() { require.NoError(t, d.Stop(context.Background())) }()
		var runs atomic.Int64
		_, err = number.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			require.Equal(t, 1, info.Attempt, "the claim that came too late does not count")
			runs.Add(1)
			return ctx.Err()
		})
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		pass(1850 * time.Millisecond)
		require.Zero(t, runs.Load())
		pass(time.Second)
		require.EqualValues(t, 1, runs.Load())
		require.EqualValues(t, 1, d.Stats().Started)
	})
}

// Suspects that end as they are claimed cannot be given back.
func TestSuspectsAtMostOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		leaveBehind(t, d, b, 8, 2)
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil }, fanfare.AtMostOnce())
		require.NoError(t, err)
		pass(time.Minute)
		require.EqualValues(t, 8, d.Stats().Handled)
	})
}
