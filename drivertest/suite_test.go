package drivertest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// memories makes reference brokers. All handles on one are that one.
var memories = Harness{
	New: func(t testing.TB, window time.Duration) driver.Broker {
		m := NewMemory(Window(window))
		t.Cleanup(func() { m.Close() })
		return m
	},
	Reopen: func(t testing.TB, b driver.Broker) driver.Broker { return b },
}

func TestMemory(t *testing.T) { Run(t, memories) }

// The suite runs on a broker that can hardly do anything, and says so: in a
// process of its own, since there most of its tests are skipped on purpose.
func TestLimited(t *testing.T) {
	if os.Getenv(limitedEnv) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLimited$", "-test.v")
		cmd.Env = append(os.Environ(), limitedEnv+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "not tested: the broker has no Canceler") {
			t.Errorf("the suite on a limited broker: %v\n%s", err, out)
		}
		return
	}
	Run(t, Harness{New: func(t testing.TB, window time.Duration) driver.Broker {
		return limited{NewMemory(Window(window))}
	}})
}

// limitedEnv tells the child process of TestLimited what it is.
const limitedEnv = "FANFARE_TEST_LIMITED"

// limited is a broker without an optional ability, and without a capability but
// unique ids. It refuses what it does not honour.
type limited struct{ driver.Broker }

func (limited) Capabilities() driver.Capabilities {
	return driver.Capabilities{UniqueID: true, MaxBody: 1000}
}

func (l limited) Subscribe(ctx context.Context, q driver.Queue) error {
	if driver.CheckName("group", q.Group) == nil && q.Group != driver.DefaultGroup {
		return driver.ErrUnsupported
	}
	return l.Broker.Subscribe(ctx, q)
}

func (l limited) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	outcomes := make([]error, len(msgs))
	for i, msg := range msgs {
		switch {
		case msg.Delay != 0 || !msg.At.IsZero() || msg.Priority != driver.Normal || msg.Conflict != driver.KeepFirst:
			outcomes[i] = driver.ErrUnsupported
		case len(msg.Body) > l.Capabilities().MaxBody:
			outcomes[i] = driver.ErrTooLarge
		default:
			one, err := l.Broker.Push(ctx, topic, []driver.Message{msg})
			if err != nil {
				return nil, err
			}
			outcomes[i] = one[0]
		}
	}
	return outcomes, nil
}

func (l limited) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	if r.AtMostOnce {
		return driver.Claim{}, driver.ErrUnsupported
	}
	return l.Broker.Claim(ctx, q, r)
}
