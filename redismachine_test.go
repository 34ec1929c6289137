package fanfare

import (
	"crypto/rand"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/statemachine"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// machines makes two handles each on a real server, whose scripts have a clock
// that the machine turns.
func machines(tb testing.TB) statemachine.Harness {
	address := testsvc.Redis(tb).URL
	client := dialTest(tb, address)
	return statemachine.Harness{
		Budget: 8 * time.Second,
		New: func(t testing.TB) statemachine.Backend {
			prefix := "fanfare:" + rand.Text()
			clock := newClockedClient(t, client, prefix)
			o := redisOptions{prefix: prefix, window: statemachine.Window}
			b := statemachine.Backend{Topic: "topic", Clock: clock}
			for range 2 {
				b.Brokers = append(b.Brokers, newRedisBroker(clock, o))
			}
			b.Audit = func(q driver.Queue) error { return auditRedis(client, newRedisKeys(prefix, q)) }
			return b
		},
	}
}

func TestRedisStateMachine(t *testing.T) { statemachine.Run(t, machines(t)) }

func FuzzRedisStateMachine(f *testing.F) {
	h := machines(f)
	f.Fuzz(func(t *testing.T, b []byte) { rapid.MakeFuzz(statemachine.Property(t, h))(t, b) })
}
