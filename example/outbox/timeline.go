package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// steps are all that must happen, and how often.
var steps = map[string]int{
	"placed": 2, "rollback": 1, "warehouse": 2, "failure": 1, "paid": 1, "cancelled": 1, "audit": 1,
}

// timeline prints what happens and remembers it.
type timeline struct {
	begin time.Time

	mu      sync.Mutex
	seen    map[string]int
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

// wait waits for all steps but the audit, which follows.
func (t *timeline) wait(ctx context.Context) error {
	for {
		wrong := t.wrong("audit")
		if wrong == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", strings.Join(wrong, "; "), ctx.Err())
		case <-t.changed:
		}
	}
}

// missing returns an error that names what did not happen as often as it should.
func (t *timeline) missing() error {
	if wrong := t.wrong(""); wrong != nil {
		return fmt.Errorf("not as it should be: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// wrong names the steps, but one, that did not happen as often as they should.
func (t *timeline) wrong(but string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var wrong []string
	for name, want := range steps {
		if n := t.seen[name]; n != want && name != but {
			wrong = append(wrong, fmt.Sprintf("%s: %d times, want %d", name, n, want))
		}
	}
	return wrong
}
