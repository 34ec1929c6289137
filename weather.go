package fanfare

import (
	"log/slog"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// weather logs when the backend stops and when it starts to work again, once
// each, however many queues and calls notice it.
type weather struct {
	logger *slog.Logger
	mu     sync.Mutex
	bad    map[call]bool
	since  time.Time
}

// call is what the weather is told of.
type call struct {
	queue driver.Queue
	verb  string
}

// report takes the result of a call.
func (w *weather) report(c call, err error) {
	w.mu.Lock()
	was, at := len(w.bad) > 0, w.since
	if err == nil {
		delete(w.bad, c)
	} else {
		if w.bad == nil {
			w.bad = map[call]bool{}
		}
		if !was {
			w.since = time.Now()
		}
		w.bad[c] = true
	}
	is := len(w.bad) > 0
	w.mu.Unlock()
	switch {
	case is && !was:
		w.logger.Warn("fanfare: backend does not work", "call", c.verb, "topic", c.queue.Topic, "group", c.queue.Group, "error", err)
	case was && !is:
		w.logger.Info("fanfare: backend works again", "after", time.Since(at))
	}
}

// forget takes calls that are no longer made.
func (w *weather) forget(calls ...call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range calls {
		delete(w.bad, c)
	}
}
