package fanfare

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Backoff says how long an event waits after its nth failure (n = 1, 2, …)
// before it is tried again. It is a function of n alone but for chance, so it
// may be shared. If it panics the event waits for a minute. Given to Register it is the handler's, given to [WithBackoff]
// that of all handlers without one.
type Backoff func(failures int) time.Duration

func (b Backoff) applyHandler(c *handlerConfig) error {
	if b == nil {
		return fmt.Errorf("nil Backoff: %w", ErrOption)
	}
	c.backoff = b
	return nil
}

// after calls b, whose panic must not end a goroutine of the dispatcher: then the
// event waits for a minute.
func (b Backoff) after(failures int) (d time.Duration) {
	defer func() {
		if recover() != nil {
			d = time.Minute
		}
	}()
	return max(b(failures), 0)
}

// NoBackoff tries again at once.
func NoBackoff() Backoff { return Fixed(0) }

// Fixed waits for d each time.
func Fixed(d time.Duration) Backoff {
	return func(int) time.Duration { return d }
}

// Exponential waits for base after the first failure and twice as long after
// each further one, but at most for limit. jitter, from 0 to 1, is the part of
// each wait that is left to chance, so that events that failed together do not
// come back together: with 0.5 the wait is between half of it and all of it.
// A negative wait is none, and a jitter outside of 0 to 1 is the nearest of them.
func Exponential(base, limit time.Duration, jitter float64) Backoff {
	jitter = min(max(jitter, 0), 1)
	return func(failures int) time.Duration {
		d := limit
		if n := max(failures, 1) - 1; n < 63 && base <= limit>>n {
			d = base << n
		}
		return d - time.Duration(rand.Float64()*jitter*float64(d))
	}
}
