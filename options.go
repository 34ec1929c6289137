package fanfare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Unlimited as a number of attempts or retries means that there is no limit.
const Unlimited = -1

// Option sets up a dispatcher. A wrong value, or an option that the dispatcher
// does not know, is an error of its constructor that matches ErrOption.
type Option func(*config) error

// config is what the options of all dispatchers set.
type config struct {
	kind        kind
	ctx         context.Context
	grace       time.Duration
	logger      *slog.Logger
	observer    *Observer
	middleware  []Middleware
	dispatching []DispatchMiddleware

	maxQueued   int
	concurrency int
	maxAttempts int
	backoff     Backoff
	timeout     time.Duration
	interval    time.Duration
	idle        time.Duration
	window      time.Duration
	onDrop      func(Dropped)

	lease      time.Duration
	codec      Codec
	maxPayload int
	prefix     string
	unhealthy  time.Duration

	required DurabilityLevel
	replicas int           // Redis: that have an event before it is accepted
	patience time.Duration // for them
}

// kind is the sort of dispatcher that is being set up.
type kind uint8

const (
	local kind = 1 << iota
	durable
	redisKind
)

func newConfig(k kind, opts []Option) (config, error) {
	c := config{
		kind:       k,
		ctx:        context.Background(),
		logger:     slog.New(slog.DiscardHandler),
		window:     time.Minute,
		unhealthy:  time.Minute,
		idle:       10 * time.Second,
		codec:      JSON,
		maxPayload: 1 << 20,
		prefix:     "fanfare",
		lease:      30 * time.Second,
	}
	if k == local {
		c.maxQueued, c.concurrency, c.maxAttempts = 100_000, 200, 4
		c.backoff, c.interval = Exponential(100*time.Millisecond, 10*time.Second, 0.5), time.Minute
	} else {
		c.concurrency, c.maxAttempts = 40, 16
		c.backoff, c.interval = Exponential(time.Second, 10*time.Minute, 0.5), 2*time.Second
	}
	for i, o := range opts {
		if o == nil {
			return c, fmt.Errorf("option %d is nil: %w", i+1, ErrOption)
		}
		if err := o(&c); err != nil {
			return c, fmt.Errorf("%w: %w", ErrOption, err)
		}
	}
	if c.observer != nil {
		c.observer.logger = c.logger
	}
	return c, nil
}

// option makes an Option for some kinds of dispatchers.
func option(name string, kinds kind, set func(*config) error) Option {
	return func(c *config) error {
		if c.kind&kinds == 0 {
			return fmt.Errorf("%s: it is for another kind of dispatcher: %w", name, ErrUnsupported)
		}
		if err := set(c); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
}

func between[T int | time.Duration](v, least, most T) error {
	if v < least || v > most {
		return fmt.Errorf("%v, want %v to %v", v, least, most)
	}
	return nil
}

const (
	everyKind   = local | durable | redisKind
	everDurable = durable | redisKind
	longest     = 10 * 365 * 24 * time.Hour
)

// WithContext stops the dispatcher when ctx ends, as Stop does with a context
// that has ended after the given grace for running handlers. Stop may be called
// besides, to wait for that.
func WithContext(ctx context.Context, grace time.Duration) Option {
	return option("WithContext", everyKind, func(c *config) error {
		if ctx == nil {
			return fmt.Errorf("nil context")
		}
		c.ctx = ctx
		c.grace = grace
		return between(grace, 0, longest)
	})
}

// WithLogger lets the dispatcher log: state changes of the backend and lost
// leases as warnings, events that are given up as errors, retries and the rest
// at debug level. Payloads, header values and secrets are never logged. Without
// it nothing is.
func WithLogger(l *slog.Logger) Option {
	return option("WithLogger", everyKind, func(c *config) error {
		if l == nil {
			return fmt.Errorf("nil logger")
		}
		c.logger = l
		return nil
	})
}

// WithObserver calls the functions of o as things happen. May be given once.
func WithObserver(o Observer) Option {
	return option("WithObserver", everyKind, func(c *config) error {
		c.observer = &o
		return nil
	})
}

// WithMiddleware wraps every handler, the first one outermost. It may be given
// more than once.
func WithMiddleware(m ...Middleware) Option {
	return option("WithMiddleware", everyKind, func(c *config) error {
		for _, f := range m {
			if f == nil {
				return fmt.Errorf("nil middleware")
			}
		}
		c.middleware = append(c.middleware, m...)
		return nil
	})
}

// WithDispatchMiddleware wraps every dispatch, the first one outermost. It may
// be given more than once.
func WithDispatchMiddleware(m ...DispatchMiddleware) Option {
	return option("WithDispatchMiddleware", everyKind, func(c *config) error {
		for _, f := range m {
			if f == nil {
				return fmt.Errorf("nil middleware")
			}
		}
		c.dispatching = append(c.dispatching, m...)
		return nil
	})
}

// WithMaxQueued bounds the events that are accepted in process and not yet
// finished: ready, running, delayed, or waiting for a retry. One more is refused
// with ErrMaxQueuedEventsReached. It is at least 1; the default is 100,000. In
// process only.
func WithMaxQueued(n int) Option {
	return option("WithMaxQueued", local, func(c *config) error {
		c.maxQueued = n
		return between(n, 1, 1<<30)
	})
}

// WithMaxRetry sets how often an event is tried again after it failed, unless
// its handler's or its own [MaxAttempts] says otherwise: n retries are n + 1
// attempts. The default is 3 in process and 15 on durable dispatchers, which
// with the default backoff is for about an hour. [Unlimited] is possible.
func WithMaxRetry(n int) Option {
	return option("WithMaxRetry", everyKind, func(c *config) error {
		if n == Unlimited {
			c.maxAttempts = Unlimited
			return nil
		}
		c.maxAttempts = n + 1
		if err := between(n, 0, 1<<30); err != nil {
			return fmt.Errorf("%w, or Unlimited", err)
		}
		return nil
	})
}

// WithBackoff sets the [Backoff] of handlers that have none of their own. The
// default is Exponential(100ms, 10s, 0.5) in process and Exponential(1s, 10m,
// 0.5) on durable dispatchers.
func WithBackoff(b Backoff) Option {
	return option("WithBackoff", everyKind, func(c *config) error {
		if b == nil {
			return fmt.Errorf("nil Backoff")
		}
		c.backoff = b
		return nil
	})
}

// WithParallelThreshold bounds the goroutines that handle the events of one
// topic in process, and of one topic and group on a durable dispatcher. A
// handler's [Concurrency] replaces it. It is 1 to 100,000; the default is 200 in
// process and 40 on durable dispatchers.
func WithParallelThreshold(n int) Option {
	return option("WithParallelThreshold", everyKind, func(c *config) error {
		c.concurrency = n
		return between(n, 1, maxConcurrency)
	})
}

const maxConcurrency = 100_000

// WithTaskMaxDuration sets the [Timeout] of handlers that have none of their
// own. It is at least 1ms; the default is none.
func WithTaskMaxDuration(d time.Duration) Option {
	return option("WithTaskMaxDuration", everyKind, func(c *config) error {
		c.timeout = d
		return between(d, time.Millisecond, longest)
	})
}

// WithTickerInterval sets the longest sleep between two looks at a queue. It is
// not the resolution of delays: a dispatcher knows the next due time and wakes
// for it, and is woken by new events. It bounds how late an event is when such a
// wake-up is lost. It is 10ms to 1h; the default is 2s on durable dispatchers,
// where a look costs the backend a command, and 1m in process.
func WithTickerInterval(d time.Duration) Option {
	return option("WithTickerInterval", everyKind, func(c *config) error {
		c.interval = d
		return between(d, 10*time.Millisecond, time.Hour)
	})
}

// WithIdleTimeout sets after how long without work a goroutine of a topic's pool
// ends. It is at least 1ms; the default is 10s. In process only.
func WithIdleTimeout(d time.Duration) Option {
	return option("WithIdleTimeout", local, func(c *config) error {
		c.idle = d
		return between(d, time.Millisecond, longest)
	})
}

// WithDedupWindow sets for how long the [ID] of an event that has ended stays
// known: a dispatch with it is refused with ErrDuplicate. It must be longer than
// any dispatch is repeated after its answer was lost. It is at least 1s; the
// default is 1m. A broker given to [New] has its own.
func WithDedupWindow(d time.Duration) Option {
	return option("WithDedupWindow", local|redisKind, func(c *config) error {
		c.window = d
		return between(d, time.Second, longest)
	})
}

// WithOnDrop calls f for each event that is given up in process: its attempts
// are used up, its handler returned [Discard], or the dispatcher was stopped
// before it was due. f is called by the goroutine that found out and should
// return soon. A panic of its is logged. In process only: durable dispatchers keep dead letters.
func WithOnDrop(f func(Dropped)) Option {
	return option("WithOnDrop", local, func(c *config) error {
		if f == nil {
			return fmt.Errorf("nil function")
		}
		c.onDrop = f
		return nil
	})
}

// WithLease sets the [Lease] of handlers that have none of their own. It is 1s to
// 24h; the default is 30s. Durable dispatchers only.
func WithLease(d time.Duration) Option {
	return option("WithLease", everDurable, func(c *config) error {
		c.lease = d
		return between(d, minLease, maxLease)
	})
}

const (
	minLease = time.Second
	maxLease = 24 * time.Hour
)

// WithCodec sets how payloads become bytes. The default is [JSON]. Events that
// are stored with the name of another codec but JSON do not decode. Durable
// dispatchers only.
func WithCodec(codec Codec) Option {
	return option("WithCodec", everDurable, func(c *config) error {
		if codec == nil || codec.Name() == "" || len(codec.Name()) > 255 {
			return fmt.Errorf("want a codec with a name of 1 to 255 bytes")
		}
		c.codec = codec
		return nil
	})
}

// WithMaxPayload bounds an encoded event with its headers, in bytes; a greater
// one is refused with ErrTooLarge before anything is sent. It is 1 KiB to 256
// MiB; the default is 1 MiB. Durable dispatchers only.
func WithMaxPayload(n int) Option {
	return option("WithMaxPayload", everDurable, func(c *config) error {
		c.maxPayload = n
		return between(n, 1<<10, 256<<20)
	})
}

// WithPrefix sets what the names of all Redis keys begin with, so that several
// applications share a server without meeting: 1 to 64 letters, digits and
// characters of "_.-:". The default is "fanfare". On Redis only.
func WithPrefix(prefix string) Option {
	return option("WithPrefix", redisKind, func(c *config) error {
		c.prefix = prefix
		return checkRedisPrefix(prefix)
	})
}

// WithReplicas makes a dispatch wait until n replicas of the Redis server have
// the event, for up to the given time. Where fewer confirm that, the server alone
// has it for sure: the dispatch returns an error that matches ErrUnknownOutcome,
// and may be repeated with the same [ID] until it returns nil or ErrDuplicate. With
// as many replicas as there are, the failover to any of them loses no accepted
// event, unless the new primary fails too. n is 1 to 100, the time 1ms to 4s. On
// Redis only.
func WithReplicas(n int, patience time.Duration) Option {
	return option("WithReplicas", redisKind, func(c *config) error {
		c.replicas, c.patience = n, patience
		return errors.Join(between(n, 1, 100), between(patience, time.Millisecond, 4*time.Second))
	})
}

// WithUnhealthyAfter sets for how long the oldest due event of a topic handled
// here may wait before Health reports ErrUnhealthy. It is at least 1ms; the
// default is 1m. Durable dispatchers only.
func WithUnhealthyAfter(d time.Duration) Option {
	return option("WithUnhealthyAfter", everDurable, func(c *config) error {
		c.unhealthy = d
		return between(d, time.Millisecond, longest)
	})
}
