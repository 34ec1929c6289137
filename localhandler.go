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

	// gate counts the calls that run, and has the bit gateClosed once the
	// handler was removed. It and the other numbers change with every call.
	_       [64]byte
	gate    atomic.Int64
	handled atomic.Uint64
	failed  atomic.Uint64
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

// enter begins a call. It reports false if the handler was removed.
func (h *localHandler) enter() bool {
	if h.gate.Add(1)&gateClosed == 0 {
		return true
	}
	h.exit()
	return false
}

// leave ends a call that enter began.
func (h *localHandler) leave(err error) {
	if err == nil {
		h.handled.Add(1)
	} else {
		h.failed.Add(1)
	}
	h.exit()
}

func (h *localHandler) exit() {
	if h.gate.Add(-1) == gateClosed {
		h.once.Do(h.retire)
	}
}

// shut lets no call begin any more.
func (h *localHandler) shut() {
	if h.gate.Or(gateClosed) == 0 {
		h.once.Do(h.retire)
	}
}

func (h *localHandler) shuttered() bool { return h.gate.Load()&gateClosed != 0 }
func (h *localHandler) running() int    { return int(h.gate.Load() &^ gateClosed) }

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
