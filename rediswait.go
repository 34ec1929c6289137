package fanfare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Wait returns when a token lies on the wake list of q, or after d.
//
// Redis looks for blocked commands that timed out ten times a second. So where
// the latest claim knew of something that is claimable by then, the wait is ended
// by a token of its own. The token may wake another consumer in its place, which
// is as good.
func (b *redisBroker) Wait(ctx context.Context, q driver.Queue, d time.Duration) error {
	if err := checkRedisQueue(q); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, err)
	}
	if d <= 0 {
		return nil
	}
	start := time.Now()
	wake, due := b.waiting(q)
	timeout := (min(d, redisLongestWait) + time.Millisecond - 1).Truncate(time.Millisecond) // to 0 it would wait for ever
	bound, cancel := context.WithTimeout(ctx, timeout+time.Second)
	defer cancel()
	if !due.IsZero() && due.Before(start.Add(timeout)) {
		rung := make(chan struct{})
		alarm := time.AfterFunc(d, func() {
			defer close(rung)
			// If it fails the command times out, if somewhat late.
			_, _ = b.run(bound, wakeScript, []string{wake})
		})
		defer func() {
			if !alarm.Stop() {
				<-rung
			}
		}()
	}
	seconds := strconv.FormatFloat(timeout.Seconds(), 'f', 3, 64)
	_, err := b.client.Do(bound, "BLPOP", wake, seconds)
	if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(start) < timeout && !redisEnded(ctx) {
		return nil // the read timeout of a caller's pool
	}
	return redisError(err, false)
}

// waiting returns the wake list of q, and when more is claimable there.
func (b *redisBroker) waiting(q driver.Queue) (wake string, due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.queueLocked(q)
	return known.keys.wake, known.due
}

// redisEnded reports that ctx has ended, or is about to since its deadline has passed.
func redisEnded(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// redisInTime adds the error of ctx to err if ctx has ended, so that callers find
// their own deadline in what they get.
func redisInTime(ctx context.Context, err error) error {
	if err == nil || !redisEnded(ctx) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return fmt.Errorf("%w: %w", err, context.DeadlineExceeded)
}
