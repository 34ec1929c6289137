package fanfare_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// opener opens one kind of dispatcher.
type opener struct {
	name    string
	durable bool
	// open returns a dispatcher with nothing in it, stopped with the test.
	open func(t *testing.T, opts ...fanfare.Option) fanfare.Dispatcher
	// again returns a second one on the same backend; nil in process.
	again func(t *testing.T, d fanfare.Dispatcher, opts ...fanfare.Option) *fanfare.Durable
}

func (o opener) stats(d fanfare.Dispatcher) fanfare.Stats {
	return d.(interface{ Stats() fanfare.Stats }).Stats()
}

var openers = []opener{
	{name: "local", open: openLocal},
	backed("reference", func(*testing.T) func(*testing.T, ...fanfare.Option) (*fanfare.Durable, error) {
		b := drivertest.NewMemory()
		return func(_ *testing.T, opts ...fanfare.Option) (*fanfare.Durable, error) { return fanfare.New(b, opts...) }
	}),
	backed("redis", func(t *testing.T) func(*testing.T, ...fanfare.Option) (*fanfare.Durable, error) {
		url, prefix := testsvc.Redis(t).URL, "t:"+fanfare.NewID()
		return func(_ *testing.T, opts ...fanfare.Option) (*fanfare.Durable, error) {
			return fanfare.OpenRedis(url, append([]fanfare.Option{fanfare.WithPrefix(prefix)}, opts...)...)
		}
	}),
	backed("miniredis", func(t *testing.T) func(*testing.T, ...fanfare.Option) (*fanfare.Durable, error) {
		addr := miniredis.RunT(t).Addr()
		return func(_ *testing.T, opts ...fanfare.Option) (*fanfare.Durable, error) {
			return fanfare.OpenRedis(addr, opts...)
		}
	}),
}

func openLocal(t *testing.T, opts ...fanfare.Option) fanfare.Dispatcher {
	t.Helper()
	d, err := fanfare.NewLocal(opts...)
	require.NoError(t, err)
	stopWith(t, d)
	return d
}

// backed makes an opener of a function that makes a backend and returns what
// opens dispatchers on it.
func backed(name string, backend func(*testing.T) func(*testing.T, ...fanfare.Option) (*fanfare.Durable, error)) opener {
	opens := map[fanfare.Dispatcher]func(*testing.T, ...fanfare.Option) (*fanfare.Durable, error){}
	var mu = make(chan struct{}, 1)
	start := func(t *testing.T, f func(*testing.T, ...fanfare.Option) (*fanfare.Durable, error), opts []fanfare.Option) *fanfare.Durable {
		t.Helper()
		d, err := f(t, opts...)
		require.NoError(t, err)
		stopWith(t, d)
		mu <- struct{}{}
		opens[d] = f
		<-mu
		return d
	}
	return opener{
		name: name, durable: true,
		open: func(t *testing.T, opts ...fanfare.Option) fanfare.Dispatcher {
			t.Helper()
			return start(t, backend(t), opts)
		},
		again: func(t *testing.T, d fanfare.Dispatcher, opts ...fanfare.Option) *fanfare.Durable {
			t.Helper()
			mu <- struct{}{}
			f := opens[d]
			<-mu
			return start(t, f, opts)
		},
	}
}

// stopWith stops d at the end of the test. What a test leaves behind there is
// its own business.
func stopWith(t *testing.T, d fanfare.Dispatcher) {
	t.Cleanup(func() {
		ctx, cancel := contextFor(time.Second)
		defer cancel()
		_ = d.Stop(ctx)
	})
}
