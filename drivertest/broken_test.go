package drivertest

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// A defect is a way to break the reference broker, and the promise whose test
// must fail for it.
type defect struct {
	name   string
	caught string // chapter/promise
	hurt   func(b *broken)
}

// brokenEnv names the defect that TestBrokenBroker has, in the process that
// TestSuiteCatches starts for it.
const brokenEnv = "DRIVERTEST_BROKEN"

// TestSuiteCatches runs the suite on broken brokers. As a test cannot fail
// without its parent, each runs in a process of its own.
func TestSuiteCatches(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each of many defects")
	}
	names := map[string]bool{}
	places := make(chan struct{}, 2)
	for _, d := range defects() {
		if names[d.name] {
			t.Errorf("two defects are called %q", d.name)
		}
		names[d.name] = true
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			failing := "TestBrokenBroker/" + strings.ReplaceAll(d.caught, " ", "_")
			var levels []string
			for _, level := range strings.Split(failing, "/") {
				levels = append(levels, "^"+regexp.QuoteMeta(level)+"$")
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+strings.Join(levels, "/"), "-test.timeout=1m")
			cmd.Env = append(os.Environ(), brokenEnv+"="+d.name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: "+failing+" ") {
				t.Errorf("the suite passes with this defect (%v):\n%s", err, out)
			}
			if strings.Contains(string(out), "panic:") {
				t.Errorf("the defect is a panic, which proves nothing:\n%s", out)
			}
		})
	}
}

// TestBrokenBroker is what TestSuiteCatches runs, with a defect. Without one the
// suite has nothing to catch.
func TestBrokenBroker(t *testing.T) {
	name := os.Getenv(brokenEnv)
	sound := defect{hurt: func(*broken) {}}
	for _, d := range append(defects(), sound) {
		if d.name != name {
			continue
		}
		h := Harness{Slack: 30 * time.Millisecond, Reopen: memories.Reopen}
		h.New = func(t testing.TB, window time.Duration) driver.Broker {
			b := &broken{Memory: NewMemory(Window(window))}
			d.hurt(b)
			return b
		}
		if name == "reopen shows another state" {
			h.Reopen = func(testing.TB, driver.Broker) driver.Broker { return NewMemory() }
		}
		Run(t, h)
		return
	}
	t.Fatalf("no defect is called %q", name)
}

// broken is a reference broker of which some methods are replaced.
type broken struct {
	*Memory
	onSubscribe   func(ctx context.Context, q driver.Queue) error
	onUnsubscribe func(ctx context.Context, q driver.Queue) error
	onPush        func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error)
	onClaim       func(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error)
	onWait        func(ctx context.Context, q driver.Queue, d time.Duration) error
	onExtend      func(ctx context.Context, q driver.Queue, lease time.Duration, held []driver.Receipt) ([]bool, error)
	onSettle      func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error)
	onCancel      func(ctx context.Context, topic, id string) (bool, error)
	onReschedule  func(ctx context.Context, topic, id string, at time.Time) (bool, error)
	onGet         func(ctx context.Context, q driver.Queue, id string) (driver.Record, error)
	onList        func(ctx context.Context, q driver.Queue, s driver.State, offset, limit int) ([]driver.Record, error)
	onStatus      func(s *driver.Status)
	onRequeue     func(ctx context.Context, q driver.Queue, ids []string) ([]error, error)
	onDeleteDead  func(ctx context.Context, q driver.Queue, ids []string) (int, error)
	onPurge       func(ctx context.Context, q driver.Queue) (int, error)
	onPause       func(ctx context.Context, q driver.Queue) error
	onResume      func(ctx context.Context, q driver.Queue) error
}

func (b *broken) Subscribe(ctx context.Context, q driver.Queue) error {
	if b.onSubscribe != nil {
		return b.onSubscribe(ctx, q)
	}
	return b.Memory.Subscribe(ctx, q)
}

func (b *broken) Unsubscribe(ctx context.Context, q driver.Queue) error {
	if b.onUnsubscribe != nil {
		return b.onUnsubscribe(ctx, q)
	}
	return b.Memory.Unsubscribe(ctx, q)
}

func (b *broken) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	if b.onPush != nil {
		return b.onPush(ctx, topic, msgs)
	}
	return b.Memory.Push(ctx, topic, msgs)
}

func (b *broken) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	if b.onClaim != nil {
		return b.onClaim(ctx, q, r)
	}
	return b.Memory.Claim(ctx, q, r)
}

func (b *broken) Wait(ctx context.Context, q driver.Queue, d time.Duration) error {
	if b.onWait != nil {
		return b.onWait(ctx, q, d)
	}
	return b.Memory.Wait(ctx, q, d)
}

func (b *broken) Extend(ctx context.Context, q driver.Queue, consumer string, lease time.Duration, held []driver.Receipt) ([]bool, error) {
	if b.onExtend != nil {
		return b.onExtend(ctx, q, lease, held)
	}
	return b.Memory.Extend(ctx, q, consumer, lease, held)
}

func (b *broken) Settle(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
	if b.onSettle != nil {
		return b.onSettle(ctx, q, s)
	}
	return b.Memory.Settle(ctx, q, s)
}

func (b *broken) Cancel(ctx context.Context, topic, id string) (bool, error) {
	if b.onCancel != nil {
		return b.onCancel(ctx, topic, id)
	}
	return b.Memory.Cancel(ctx, topic, id)
}

func (b *broken) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	if b.onReschedule != nil {
		return b.onReschedule(ctx, topic, id, at)
	}
	return b.Memory.Reschedule(ctx, topic, id, at)
}

func (b *broken) Get(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
	if b.onGet != nil {
		return b.onGet(ctx, q, id)
	}
	return b.Memory.Get(ctx, q, id)
}

func (b *broken) List(ctx context.Context, q driver.Queue, s driver.State, offset, limit int) ([]driver.Record, error) {
	if b.onList != nil {
		return b.onList(ctx, q, s, offset, limit)
	}
	return b.Memory.List(ctx, q, s, offset, limit)
}

func (b *broken) Status(ctx context.Context, topics ...string) ([]driver.Status, error) {
	all, err := b.Memory.Status(ctx, topics...)
	if b.onStatus != nil {
		for i := range all {
			b.onStatus(&all[i])
		}
	}
	return all, err
}

func (b *broken) Requeue(ctx context.Context, q driver.Queue, ids ...string) ([]error, error) {
	if b.onRequeue != nil {
		return b.onRequeue(ctx, q, ids)
	}
	return b.Memory.Requeue(ctx, q, ids...)
}

func (b *broken) DeleteDead(ctx context.Context, q driver.Queue, ids ...string) (int, error) {
	if b.onDeleteDead != nil {
		return b.onDeleteDead(ctx, q, ids)
	}
	return b.Memory.DeleteDead(ctx, q, ids...)
}

func (b *broken) Purge(ctx context.Context, q driver.Queue) (int, error) {
	if b.onPurge != nil {
		return b.onPurge(ctx, q)
	}
	return b.Memory.Purge(ctx, q)
}

func (b *broken) Pause(ctx context.Context, q driver.Queue) error {
	if b.onPause != nil {
		return b.onPause(ctx, q)
	}
	return b.Memory.Pause(ctx, q)
}

func (b *broken) Resume(ctx context.Context, q driver.Queue) error {
	if b.onResume != nil {
		return b.onResume(ctx, q)
	}
	return b.Memory.Resume(ctx, q)
}
