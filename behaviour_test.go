package fanfare_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestBehaviour(t *testing.T) {
	behaviour.Run(t, behaviour.Local, onReference, onRealRedis, onMiniredis)
}

func TestProcesses(t *testing.T) { behaviour.RunProcesses(t, onRealRedis) }

func TestPoison(t *testing.T) { behaviour.RunPoison(t, onRealRedis) }

var onReference = behaviour.Opener{Name: "reference", Durable: true, Start: func(*testing.T) behaviour.Backend {
	b := drivertest.NewMemory()
	return behaviour.Backend{Open: func(_ *testing.T, opts ...fanfare.Option) (fanfare.Dispatcher, error) {
		return fanfare.New(b, opts...)
	}}
}}

var onRealRedis = behaviour.Opener{Name: "redis", Durable: true, Start: func(t *testing.T) behaviour.Backend {
	url, prefix := testsvc.Redis(t).URL, "t:"+fanfare.NewID()
	return behaviour.Backend{
		Open: func(_ *testing.T, opts ...fanfare.Option) (fanfare.Dispatcher, error) {
			return openPrefixed(url, prefix, opts)
		},
		Env: []string{childURL + "=" + url, childPrefix + "=" + prefix},
	}
}}

const (
	childURL    = "FANFARE_TEST_CHILD_URL"
	childPrefix = "FANFARE_TEST_CHILD_PREFIX"
)

// openFromEnv opens, in a child process, what onRealRedis put into its environment.
func openFromEnv(opts ...fanfare.Option) (*fanfare.Durable, error) {
	return openPrefixed(os.Getenv(childURL), os.Getenv(childPrefix), opts)
}

func openPrefixed(url, prefix string, opts []fanfare.Option) (*fanfare.Durable, error) {
	return fanfare.OpenRedis(url, append([]fanfare.Option{fanfare.WithPrefix(prefix)}, opts...)...)
}

var onMiniredis = behaviour.Opener{Name: "miniredis", Durable: true, Start: func(t *testing.T) behaviour.Backend {
	addr := miniredis.RunT(t).Addr()
	return behaviour.Backend{Open: func(_ *testing.T, opts ...fanfare.Option) (fanfare.Dispatcher, error) {
		return fanfare.OpenRedis(addr, opts...)
	}}
}}

func openLocal(t *testing.T, opts ...fanfare.Option) *fanfare.Local {
	t.Helper()
	d, err := fanfare.NewLocal(opts...)
	require.NoError(t, err)
	behaviour.StopWith(t, d)
	return d
}

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
