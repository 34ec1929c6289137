package fanfare_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
)

// fast is how long the handlers of these tests take.
const fast = 100 * time.Microsecond

func dispatchNumbers(t *testing.T, d *fanfare.Durable, from, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, number.Dispatch(t.Context(), d, from+i))
	}
}

func TestFastHandlersHaveEventsAhead(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opts  []fanfare.HandlerOption
		least int64 // of the greatest claim
		most  int64
	}{
		{"several at once", []fanfare.HandlerOption{fanfare.Concurrency(2)}, 50, 100},
		{"one after the other", []fanfare.HandlerOption{fanfare.Concurrency(1)}, 1, 1},
		{"at most once", []fanfare.HandlerOption{fanfare.Concurrency(2), fanfare.AtMostOnce()}, 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
				dispatchNumbers(t, d, 0, 1000)
				_, err := number.Register(t.Context(), d, func(context.Context, int) error {
					<-time.After(fast)
					return nil
				}, tt.opts...)
				require.NoError(t, err)
				pass(time.Second)
				require.EqualValues(t, 1000, d.Stats().Handled)
				require.EqualValues(t, 1000, d.Stats().Started)
				require.GreaterOrEqual(t, b.most.Load(), tt.least)
				require.LessOrEqual(t, b.most.Load(), tt.most)
			})
		})
	}
}

// Handlers that become slow keep nothing that others could handle.
func TestWhatIsAheadOfSlowHandlersIsGivenBack(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		dispatchNumbers(t, d, 0, 1000)
		var runs atomic.Int64
		release := make(chan struct{})
		_, err := number.Register(t.Context(), d, func(ctx context.Context, _ int) error {
			if info, _ := fanfare.DeliveryFrom(ctx); info.Attempt != 1 {
				t.Errorf("attempt %d: what was given back was not begun", info.Attempt)
			}
			if runs.Add(1) > 500 {
				<-release
			}
			<-time.After(fast)
			return nil
		}, fanfare.Concurrency(2))
		require.NoError(t, err)
		pass(time.Second)
		all, err := d.Status(t.Context(), number.Name())
		require.NoError(t, err)
		require.Equal(t, 2, all[0].Running)
		require.Equal(t, 498, all[0].Ready)
		close(release)
		pass(time.Second)
		require.EqualValues(t, 1000, d.Stats().Handled)
	})
}

func TestStopGivesBackWhatIsAhead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
		dispatchNumbers(t, d, 0, 1000)
		var runs atomic.Int64
		_, err := number.Register(t.Context(), d, func(context.Context, int) error {
			if runs.Add(1) > 500 {
				<-time.After(time.Minute)
			}
			<-time.After(fast)
			return nil
		}, fanfare.Concurrency(2))
		require.NoError(t, err)
		pass(50 * time.Millisecond) // less than what is ahead waits for handlers
		ctx, cancel := contextFor(time.Hour)
		defer cancel()
		stopped := make(chan error, 1)
		go func() { stopped <- d.Stop(ctx) }()
		synctest.Wait()
		all, err := b.Status(t.Context(), number.Name())
		require.NoError(t, err)
		require.Equal(t, 2, all[0].Running, "the others are back before these have ended")
		require.NoError(t, <-stopped)
		require.EqualValues(t, 502, runs.Load())
	})
}

func TestGoexitDoesNotLoseWhatIsAhead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, d *fanfare.Durable, _ *faulty) {
		dispatchNumbers(t, d, 0, 1000)
		_, err := number.Register(t.Context(), d, func(ctx context.Context, n int) error {
			<-time.After(fast)
			if info, _ := fanfare.DeliveryFrom(ctx); n%10 == 0 && info.Attempt == 1 {
				runtime.Goexit()
			}
			return nil
		}, fanfare.Concurrency(2), fanfare.Fixed(time.Millisecond))
		require.NoError(t, err)
		pass(time.Second)
		require.EqualValues(t, 1000, d.Stats().Handled)
		require.EqualValues(t, 1100, d.Stats().Started)
	})
}

// farBroker takes its time for each call.
type farBroker struct {
	*faulty
	claim, settle time.Duration
	released      atomic.Int64
}

func (b *farBroker) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	c, err := b.faulty.Claim(ctx, q, r)
	<-time.After(b.claim)
	return c, err
}

func (b *farBroker) Settle(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
	<-time.After(b.settle)
	for _, one := range s {
		if one.Verb == driver.Release {
			b.released.Add(1)
		}
	}
	return b.faulty.Settle(ctx, q, s)
}

// Slow handlers that end together look fast for a moment.
func TestSlowHandlersHaveNothingAhead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, _ *fanfare.Durable, b *faulty) {
		far := &farBroker{faulty: b, claim: time.Millisecond, settle: time.Millisecond}
		d, err := fanfare.New(far)
		require.NoError(t, err)
		defer func() { require.NoError(t, d.Stop(t.Context())) }()
		dispatchNumbers(t, d, 0, 400)
		_, err = number.Register(t.Context(), d, func(context.Context, int) error {
			<-time.After(time.Second)
			return nil
		}, fanfare.Concurrency(20))
		require.NoError(t, err)
		pass(time.Minute)
		require.EqualValues(t, 400, d.Stats().Handled)
		require.Zero(t, far.released.Load(), "each goes behind those that wait")
	})
}

// What an impatient Stop meets on its way from the backend goes back too.
func TestStopGivesBackALateClaim(t *testing.T) {
	for _, n := range []int{1, 100} {
		inFakeTime(t, func(t *testing.T, _ *fanfare.Durable, b *faulty) {
			d, err := fanfare.New(&farBroker{faulty: b, claim: 50 * time.Millisecond})
			require.NoError(t, err)
			dispatchNumbers(t, d, 0, n)
			_, err = number.Register(t.Context(), d, func(context.Context, int) error { return nil }, fanfare.Concurrency(n))
			require.NoError(t, err)
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var left *fanfare.StopError
			require.ErrorAs(t, d.Stop(ctx), &left)
			require.Equal(t, n, left.Released)
			all, err := b.Status(t.Context(), number.Name())
			require.NoError(t, err)
			require.Equal(t, n, all[0].Ready)
		})
	}
}
