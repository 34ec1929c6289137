//go:build !race

package fanfare

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/fanfare-go/fanfare/drivertest"
)

// The scripts run in another Lua there, which is too slow for the suite's times
// with the race detector: make test runs this test without.
func TestRedisBrokerOnMiniredis(t *testing.T) {
	drivertest.Run(t, redisHarness(func(t testing.TB) string { return miniredis.RunT(t).Addr() }))
}
