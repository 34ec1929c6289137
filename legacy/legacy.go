// Package legacy holds the retry schedules of older systems, for programs that
// moved from them to fanfare and want their events retried as before. A schedule
// is given to a handler, or to [fanfare.WithBackoff], together with the number
// of attempts that its system allowed:
//
//	topic.Register(ctx, d, handle, legacy.Worker(), fanfare.MaxAttempts(14))
//
// The older systems counted retries, except linda: their numbers are one higher
// here, where the first attempt counts too. docs/migrating.md has the rest of
// what such a program changes. New programs need nothing of this package.
package legacy

import (
	"math/rand/v2"
	"time"

	"github.com/fanfare-go/fanfare"
)

// Gevent waits for 1s, the ticker interval of gevent, after every failure.
// gevent had no backoff, but looked for failed events only at its next tick: so
// attempts were one interval apart, or a multiple of it where one took longer.
// A fixed interval keeps that distance and is never shorter; without any wait all
// attempts would be over within milliseconds. With another WithTickerInterval
// use fanfare.Fixed of it.
//
// gevent's default, WithMaxRetry(3), is fanfare.MaxAttempts(4).
func Gevent() fanfare.Backoff { return fanfare.Fixed(time.Second) }

// Futurama waits for 250ms to 500ms after the first failure and twice as long
// after each further one, at most 10 minutes: a base of 2^(n-3) seconds after
// the nth failure and a random part that is shorter than the base, in whole
// milliseconds. futurama counted the attempts from 0, so its a is n - 1. The
// limit is reached by chance after the 12th failure and always from the 13th on.
//
// futurama's default, a max_retry of 18, is fanfare.MaxAttempts(19).
func Futurama() fanfare.Backoff {
	const first, limit = 250 * time.Millisecond, 10 * time.Minute
	return func(failures int) time.Duration {
		base := limit
		if n := max(failures, 1) - 1; n < 32 {
			base = min(first<<n, limit)
		}
		return min(base+rand.N(base).Truncate(time.Millisecond), limit)
	}
}

// Worker waits for 2^n minutes after the nth failure, from the 10th on for 1024
// minutes: 2m, 4m, 8m, …, 17h4m. It is the schedule of mengseeker/go-worker.
//
// Its default, 13 retries, is fanfare.MaxAttempts(14); WithRetry(n) is
// fanfare.MaxAttempts(n + 1), as an option of the event.
func Worker() fanfare.Backoff {
	return func(failures int) time.Duration {
		return time.Minute << min(max(failures, 1), 10)
	}
}

// Linda waits for 300s after every failure, as linda did with jobs that have no
// period.
//
// A job's Retry of N meant N attempts: it is fanfare.MaxAttempts(N), as an option
// of the event, and fanfare.MaxAttempts(1) where it was 0, its default.
func Linda() fanfare.Backoff { return fanfare.Fixed(300 * time.Second) }

// Okq does not wait: okq put an event whose consumer returned false back to the
// front of its queue. Here the event goes behind those that are due already.
//
// okq had no limit: that is fanfare.MaxAttempts(fanfare.Unlimited). An event
// that always fails then occupies a handler for ever, so a limit and a wait are
// better.
func Okq() fanfare.Backoff { return fanfare.NoBackoff() }
