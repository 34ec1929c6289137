package fanfare_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
)

// A backend that is away for somewhat less than two thirds of a lease, from any
// moment on, costs nothing, however short the lease.
func TestShortLeaseOutlivesTwoThirdsOfIt(t *testing.T) {
	for begin := range 20 {
		var away atomic.Bool
		inFakeTime(t, func(t *testing.T, d *fanfare.Durable, b *faulty) {
			b.fail = func(verb string) error {
				if verb == "extend" && away.Load() {
					return driver.ErrUnavailable
				}
				return nil
			}
			_, err := number.Register(t.Context(), d, func(ctx context.Context, _ int) error {
				select {
				case <-ctx.Done():
				case <-time.After(6 * time.Second):
				}
				return ctx.Err()
			})
			require.NoError(t, err)
			require.NoError(t, number.Dispatch(t.Context(), d, 1))
			pass(time.Second + time.Duration(begin)*20*time.Millisecond)
			away.Store(true)
			pass(1250 * time.Millisecond)
			away.Store(false)
			pass(5 * time.Second)
			require.Zero(t, d.Stats().LeaseLost, "away from 1s + %d * 20ms on", begin)
			require.EqualValues(t, 1, d.Stats().Handled)
		}, fanfare.WithLease(2*time.Second))
	}
}
