package fanfare

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// weather logs when the backend stops and when it starts to work again, once
// each, however many queues and calls notice it; and likewise when it refuses
// calls, which may be about one queue only and must not hide the other.
type weather struct {
	logger *slog.Logger
	mu     sync.Mutex
	outage trouble
	faults trouble
}

// trouble is the calls that fail in one way.
type trouble struct {
	calls map[call]bool
	since time.Time
}

// call is what the weather is told of.
type call struct {
	queue driver.Queue
	verb  string
}

// report takes the result of a call.
func (w *weather) report(c call, err error) {
	w.mu.Lock()
	out := errors.Is(err, driver.ErrUnavailable) || errors.Is(err, driver.ErrUnknownOutcome)
	outBegan, outEnded := w.outage.set(c, out)
	began, ended := w.faults.set(c, err != nil && !out)
	after := time.Since(w.outage.since)
	w.mu.Unlock()
	switch {
	case outBegan:
		w.logger.Warn("fanfare: backend does not work", "call", c.verb, "topic", c.queue.Topic, "group", c.queue.Group, "error", err)
	case outEnded:
		w.logger.Info("fanfare: backend works again", "after", after)
	}
	switch {
	case began:
		w.logger.Error("fanfare: backend refuses", "call", c.verb, "topic", c.queue.Topic, "group", c.queue.Group, "error", err)
	case ended:
		w.logger.Info("fanfare: backend refuses no more")
	}
}

// set notes whether a call is in trouble, and reports whether with it trouble
// began or ended.
func (t *trouble) set(c call, in bool) (began, ended bool) {
	before := len(t.calls)
	if !in {
		delete(t.calls, c)
		return false, before > 0 && len(t.calls) == 0
	}
	if t.calls == nil {
		t.calls = map[call]bool{}
	}
	t.calls[c] = true
	if before == 0 {
		t.since = time.Now()
	}
	return before == 0, false
}

// forget takes calls that are no longer made, which says nothing about the backend.
func (w *weather) forget(calls ...call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range calls {
		w.outage.set(c, false)
		w.faults.set(c, false)
	}
}
