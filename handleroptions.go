package fanfare

import (
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// HandlerOption sets up one handler: [Group], [Concurrency], [MaxAttempts], a
// [Backoff], [Timeout], [Lease], [AtMostOnce] or [Synchronous]. A wrong value is
// an error of Register that matches ErrOption; one that the dispatcher cannot
// honour matches ErrUnsupported too.
type HandlerOption interface {
	applyHandler(*handlerConfig) error
}

// handlerConfig is what the options of a handler set.
type handlerConfig struct {
	group       string // empty: not chosen
	concurrency int    // 0: the dispatcher's
	maxAttempts int
	backoff     Backoff
	timeout     time.Duration
	lease       time.Duration // 0: not chosen
	atMostOnce  bool
	synchronous bool
	ownLimit    bool // maxAttempts counts more than that of the event
}

func (c *config) handler(opts []HandlerOption) (handlerConfig, error) {
	h := handlerConfig{maxAttempts: c.maxAttempts, backoff: c.backoff, timeout: c.timeout}
	for i, o := range opts {
		if o == nil {
			return h, fmt.Errorf("handler option %d is nil: %w", i+1, ErrOption)
		}
		if err := o.applyHandler(&h); err != nil {
			return h, err
		}
	}
	return h, nil
}

type handlerOption func(*handlerConfig) error

func (f handlerOption) applyHandler(c *handlerConfig) error {
	if err := f(c); err != nil {
		return fmt.Errorf("%w: %w", ErrOption, err)
	}
	return nil
}

// Group names the group that the handler belongs to. On a durable dispatcher
// each group of a topic gets its own copy of each event, with its own retries
// and dead letters, and the processes that register a handler for it share the
// work. The default is "default". In process every handler gets every event and
// the name is for the handler's [Delivery] only.
func Group(name string) HandlerOption {
	return handlerOption(func(c *handlerConfig) error {
		c.group = name
		return driver.CheckName("group", name)
	})
}

// Concurrency bounds how many events the handler handles at once in this
// process: 1 to 100,000. The default is [WithParallelThreshold], which in process
// all handlers of a topic share.
//
// A durable dispatcher keeps up to 100 more at hand for handlers that take less
// than 5 ms, and gives back what none took for 100 ms. With 1, or [AtMostOnce], it
// claims an event when the handler is free for it.
func Concurrency(n int) HandlerOption {
	return handlerOption(func(c *handlerConfig) error {
		c.concurrency = n
		if err := between(n, 1, maxConcurrency); err != nil {
			return fmt.Errorf("Concurrency: %w", err)
		}
		return nil
	})
}

// Timeout ends the context of a handler that takes longer than d, with the
// cause ErrTimeout; its error, if it returns one then, is like any other. There
// is no other way to end a handler in Go: one that ignores its context keeps its
// place until it returns. It is at least 1ms; the default is
// [WithTaskMaxDuration].
func Timeout(d time.Duration) HandlerOption {
	return handlerOption(func(c *handlerConfig) error {
		c.timeout = d
		if err := between(d, time.Millisecond, longest); err != nil {
			return fmt.Errorf("Timeout: %w", err)
		}
		return nil
	})
}

// Lease sets for how long an event that is handled stays hidden from other
// processes. It is renewed while the handler runs, however long that is, so it
// bounds only how late the events of a process that died come back: by lease +
// 1s. It is 1s to 24h; the default is [WithLease]. Durable dispatchers only.
func Lease(d time.Duration) HandlerOption {
	return handlerOption(func(c *handlerConfig) error {
		c.lease = d
		if err := between(d, minLease, maxLease); err != nil {
			return fmt.Errorf("Lease: %w", err)
		}
		return nil
	})
}

// AtMostOnce has events removed from the backend before the handler runs: an
// event is never handled twice, and it is lost if the handler fails, its process
// dies, or the connection breaks while the event is taken. In process it means no retries. [MaxAttempts] has no effect then.
func AtMostOnce() HandlerOption {
	return handlerOption(func(c *handlerConfig) error {
		c.atMostOnce = true
		return nil
	})
}

// Synchronous runs the handler inside Dispatch, in its caller's goroutine and
// with its context: for what must succeed together with its cause. Its error is
// returned by Dispatch, is not retried, and keeps the event from the handlers
// that are not synchronous. It runs at dispatch also where the event has a
// delay, which counts for the other handlers. In process only.
func Synchronous() HandlerOption {
	return handlerOption(func(c *handlerConfig) error {
		c.synchronous = true
		return nil
	})
}

// AttemptLimit is the option that [MaxAttempts] returns.
type AttemptLimit int

// MaxAttempts bounds how often an event is tried, for a handler or for one
// event, where it counts more. 1 means no retries, [Unlimited] no bound. The
// default is [WithMaxRetry] + 1. Attempts that ended with their process are not
// failures and do not count; an event that ends its process again and again is
// given up for that, with ReasonPoison.
func MaxAttempts(n int) AttemptLimit { return AttemptLimit(n) }

func (n AttemptLimit) check() error {
	if n == Unlimited {
		return nil
	}
	if err := between(int(n), 1, 1<<30); err != nil {
		return fmt.Errorf("%w: MaxAttempts: %w, or Unlimited", ErrOption, err)
	}
	return nil
}

func (n AttemptLimit) applyHandler(c *handlerConfig) error {
	c.maxAttempts = int(n)
	return n.check()
}

func (n AttemptLimit) applyEvent(s *settings) error {
	s.maxAttempts = int(n)
	return n.check()
}
