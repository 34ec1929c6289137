package fanfare

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fanfare-go/fanfare/driver"
)

// localHandler is a registered handler.
type localHandler struct {
	handlerConfig
	l       *Local
	t       *localTopic
	handler Handler // with its middleware
	lane    anyLane // nil if synchronous
	named   bool    // its group was chosen
	removed bool    // under Local.mu

	alone *audience     // only this handler, for its retries
	idle  chan struct{} // closed when it was removed and runs no more
	once  sync.Once     // closes idle

	// gate counts the calls of a synchronous handler that run, and has the bit
	// gateClosed once the handler was removed. The workers of a lane know
	// themselves which handler they call.
	gate atomic.Int64
}

const gateClosed = 1 << 62

// newHandler checks what Register was given.
func (l *Local) newHandler(h Handler, opts []HandlerOption) (*localHandler, error) {
	if isNil(h) {
		return nil, ErrNilHandler
	}
	c, err := l.config.handler(opts)
	if err != nil {
		return nil, err
	}
	if c.lease != 0 {
		return nil, fmt.Errorf("%w: Lease: events in process have none: %w", ErrOption, ErrUnsupported)
	}
	if c.synchronous && c.concurrency != 0 {
		return nil, fmt.Errorf("%w: Concurrency: a Synchronous handler runs in its callers' goroutines: %w", ErrOption, ErrUnsupported)
	}
	named := c.group != ""
	if !named {
		c.group = driver.DefaultGroup
	}
	return &localHandler{
		handlerConfig: c,
		l:             l,
		handler:       wrapHandler(h, l.config.middleware),
		named:         named,
		idle:          make(chan struct{}),
	}, nil
}

// enter begins a call of a synchronous handler. It reports false if the handler
// was removed.
func (h *localHandler) enter() bool {
	if h.gate.Add(1)&gateClosed == 0 {
		return true
	}
	h.exit()
	return false
}

// exit ends a call that enter began.
func (h *localHandler) exit() {
	if h.gate.Add(-1) == gateClosed {
		h.left()
	}
}

// shut lets no call begin any more.
func (h *localHandler) shut() {
	h.gate.Or(gateClosed)
	h.left()
}

// left is called when a call may have been the last one of a handler that was
// removed.
func (h *localHandler) left() {
	if h.running() == 0 {
		h.once.Do(h.retire)
	}
}

func (h *localHandler) shuttered() bool { return h.gate.Load()&gateClosed != 0 }

// running counts the calls that run.
func (h *localHandler) running() int {
	n := int(h.gate.Load() &^ gateClosed)
	if h.lane != nil {
		n += h.lane.running(h)
	}
	return n
}

// retire is called once, when the handler was removed and runs no more.
func (h *localHandler) retire() {
	h.l.retired(h)
	close(h.idle)
}

// attempts returns how often an event with this content is tried.
func (h *localHandler) attempts(c *localContent) int {
	switch {
	case h.atMostOnce:
		return 1
	case c.maxAttempts != 0:
		return int(c.maxAttempts)
	}
	return h.maxAttempts
}
