package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare"
)

// steps are all that must happen, and how often.
var steps = map[string]int{
	"receipt": 2, "stock": 2, "dashboard": 1, "billing": 1, "shipping": 1,
	"cancel": 1, "check 1": 0, "check 2": 1, "dead letter": 1, "invoice": 1,
}

// timeline prints what happens and remembers it.
type timeline struct {
	begin time.Time

	mu      sync.Mutex
	seen    map[string]int
	paper   bool
	latest  time.Duration
	changed chan struct{} // of capacity 1
}

func newTimeline() *timeline {
	return &timeline{begin: time.Now(), seen: map[string]int{}, changed: make(chan struct{}, 1)}
}

func (t *timeline) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Printf("%6.3fs  %s\n", time.Since(t.begin).Seconds(), fmt.Sprintf(format, args...))
}

// step says that a step happened.
func (t *timeline) step(name, format string, args ...any) {
	t.say(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[name]++
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// late returns how late an event is.
func (t *timeline) late(due time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest = time.Since(due)
	return t.latest.Round(10 * time.Microsecond)
}

func (t *timeline) printerWorks() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.paper
}

func (t *timeline) refillPrinter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paper = true
}

// wait waits for all steps but those that follow from the dead letter.
func (t *timeline) wait(ctx context.Context) error {
	for name, n := range steps {
		if n > 0 && name != "dead letter" && name != "invoice" {
			if err := t.await(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *timeline) await(ctx context.Context, name string) error {
	for {
		t.mu.Lock()
		ok := t.seen[name] >= steps[name]
		t.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%q did not happen: %w", name, ctx.Err())
		case <-t.changed:
		}
	}
}

// missing returns an error that names what did not happen as often as it should.
func (t *timeline) missing() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var wrong []string
	for name, n := range steps {
		if t.seen[name] != n {
			wrong = append(wrong, fmt.Sprintf("%s: %d times, want %d", name, t.seen[name], n))
		}
	}
	if t.latest < 0 || t.latest > time.Second {
		wrong = append(wrong, fmt.Sprintf("the payment check was %v late", t.latest))
	}
	if wrong != nil {
		return fmt.Errorf("not as it should be: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func (t *timeline) summary(local, redis fanfare.Stats) {
	fmt.Println("\n            dispatched  handled  retried  dead  cancelled")
	for _, row := range []struct {
		name string
		fanfare.Stats
	}{{"in process", local}, {"on Redis", redis}} {
		fmt.Printf("%-12s%10d%9d%9d%6d%11d\n", row.name, row.Dispatched, row.Handled, row.Retried, row.Dead, row.Cancelled)
	}
}
