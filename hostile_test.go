package fanfare_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// hostileTexts are names that somebody may choose to do harm with.
var hostileTexts = []string{
	"}x{", "{}", "{a}:default:l", "a:b", "*", "?[a]", "..", "../../etc/passwd", "%7D", "a\nb", "a\r\nFLUSHALL\r\n", "a\x00b",
	"'; DROP TABLE events; --", "\"]) redis.call('FLUSHALL') --", "<script>alert(1)</script>", "{{.}}", "$(id)", "%s%n%x",
	"\u202e", "😀", "topics", "meta", strings.Repeat("ü", driver.MaxName/2),
}

// refusedTexts are no names at all.
var refusedTexts = []string{"", strings.Repeat("x", driver.MaxName+1), strings.Repeat("x", 100_000), "\xff", "a\xc3"}

// Names, ids and headers are data: each reaches its own handler as it is, and no
// other, and those that are none are refused before anything is sent.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	tell(t, s, "SET", "canary", "alive")
	durable, local := onRedis(t, s), openLocal(t)
	for _, d := range []fanfare.Dispatcher{durable, local} {
		got := behaviour.NewReceived[string]()
		for _, name := range hostileTexts {
			_, err := fanfare.NewTopic[string](name).Register(t.Context(), d, func(ctx context.Context, want string) error {
				info, _ := fanfare.DeliveryFrom(ctx)
				got.Add(fmt.Sprint(want == name && info.Topic == name && info.Group == name && info.ID == name && info.Headers[name] == name, name))
				return nil
			}, fanfare.Group(name))
			require.NoError(t, err, "%q", name)
		}
		for _, name := range hostileTexts {
			require.NoError(t, fanfare.NewTopic[string](name).Dispatch(t.Context(), d, name, fanfare.ID(name), fanfare.Header(name, name)), "%q", name)
		}
		var want []string
		for _, name := range hostileTexts {
			want = append(want, "true"+name)
		}
		require.ElementsMatch(t, want, got.Wait(t, len(hostileTexts)))
		for _, name := range refusedTexts {
			require.Error(t, d.Dispatch(t.Context(), name, 1), "%.20q", name)
			require.Error(t, d.Dispatch(t.Context(), "t", fanfare.With(1, fanfare.ID(name))), "%.20q", name)
			_, err := d.Register(t.Context(), name, fanfare.HandleFunc(func(context.Context, any) error { return nil }))
			require.Error(t, err, "%.20q", name)
		}
	}
	require.Equal(t, "alive", fmt.Sprintf("%s", tell(t, s, "GET", "canary")))
	all, err := durable.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, all, len(hostileTexts), "no topic but these")
}

func TestPayloadSizes(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	s := testsvc.StartRedis(t)
	d := onRedis(t, s, fanfare.WithMaxPayload(limit))
	topic, got := fanfare.NewTopic[[]byte]("sizes"), behaviour.NewReceived[int]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, b []byte) error { got.Add(len(b)); return nil })
	require.NoError(t, err)
	sizes := []int{0, 1, 100_000, limit - 100}
	for _, size := range sizes {
		require.NoError(t, topic.Dispatch(t.Context(), d, make([]byte, size)), size)
	}
	require.ElementsMatch(t, sizes, got.Wait(t, len(sizes)))
	s.Kill() // so that what is sent fails otherwise
	for _, size := range []int{limit, limit + 1, 10 << 20} {
		require.ErrorIs(t, topic.Dispatch(t.Context(), d, make([]byte, size)), fanfare.ErrTooLarge, size)
	}
	require.ErrorIs(t, topic.Dispatch(t.Context(), d, []byte{1}, fanfare.Header("h", strings.Repeat("x", 20<<10))), fanfare.ErrOption)
}

// A handler that is deaf for its context holds its own slot, and nothing else.
func TestDeafHandlersHoldOnlyTheirSlots(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	for _, d := range []fanfare.Dispatcher{openLocal(t), onRedis(t, testsvc.StartRedis(t))} {
		got := behaviour.NewReceived[int]()
		_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error {
			if n < 3 {
				<-release
			}
			got.Add(n)
			return nil
		}, fanfare.Concurrency(4), fanfare.Timeout(50*time.Millisecond))
		require.NoError(t, err)
		for n := range 200 {
			require.NoError(t, number.Dispatch(t.Context(), d, n))
		}
		got.Wait(t, 197)
		ctx, cancel := contextFor(100 * time.Millisecond)
		begin := time.Now()
		var left *fanfare.StopError
		require.ErrorAs(t, d.Stop(ctx), &left)
		cancel()
		require.Less(t, time.Since(begin), 100*time.Millisecond+overrun)
		require.Equal(t, 3, left.Running)
	}
	close(release)
}

// What a dispatcher opens is closed when it has stopped, with a server and without.
func TestStoppedDispatchersLeaveNothing(t *testing.T) {
	s := testsvc.StartRedis(t)
	open := func() (goroutines, files int) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("no /proc/self/fd")
		}
		return runtime.NumGoroutine(), len(list)
	}
	cycle := func(timeout time.Duration) {
		d, err := fanfare.OpenRedis(s.URL)
		require.NoError(t, err)
		ctx, cancel := contextFor(timeout)
		defer cancel()
		_, _ = number.Register(ctx, d, func(context.Context, int) error { return nil })
		_ = number.Dispatch(ctx, d, 1)
		_ = d.Stop(ctx)
	}
	for _, tt := range []struct {
		name    string
		prepare func()
		cycles  int
		timeout time.Duration
	}{
		{"up", func() {}, 100, 5 * time.Second},
		{"frozen", s.Pause, 10, 30 * time.Millisecond},
		{"down", func() { s.Resume(); s.Kill() }, 100, time.Second},
	} {
		goroutines, files := open()
		tt.prepare()
		for range tt.cycles {
			cycle(tt.timeout)
		}
		behaviour.Eventually(t, func() bool {
			g, f := open()
			return g <= goroutines+2 && f <= files+2 // those of Eventually itself
		}, tt.name)
	}
}
