package sql

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// handlers is how many events a process handles at once.
const handlers = 10

// drain handles a backlog of n events in one process. The clock runs from when
// the peer begins to consume until all events have ended in the database.
func drain(n int) work {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		n := env.N(n)
		if err := backlog(ctx, q, n); err != nil {
			return nil, err
		}
		events := newTally(n)
		begin := time.Now()
		stop, err := q.consume(ctx, handlers, func(text string) { events.handle(text) })
		if err != nil {
			return nil, err
		}
		if err := events.wait(ctx); err != nil {
			return nil, err
		}
		if err := stop(ctx); err != nil {
			return nil, err
		}
		sample := rate(n, time.Since(begin))
		return sample, expect(ctx, q, 0)
	}
}

// drainByTwo handles a backlog of n events in two processes. The clock runs from
// the first event that either handles until the last.
func drainByTwo(n int) work {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		if env.Part > 0 {
			if err := env.Await(); err != nil {
				return nil, err
			}
			return share(ctx, q)
		}
		n := env.N(n)
		if err := backlog(ctx, q, n); err != nil {
			return nil, err
		}
		other, err := env.Spawn(ctx, 1)
		if err != nil {
			return nil, err
		}
		if err := other.Ready(); err != nil {
			return nil, err
		}
		if err := other.Go(); err != nil {
			return nil, err
		}
		ours, err := share(ctx, q)
		if err != nil {
			return nil, err
		}
		theirs, err := other.Wait()
		if err != nil {
			return nil, err
		}
		if sum := ours["handled"] + theirs["handled"]; sum != float64(n) {
			return nil, fmt.Errorf("%v events were handled, want %d", sum, n)
		}
		µs := max(ours["last"], theirs["last"]) - min(ours["first"], theirs["first"])
		sample := rate(n, time.Duration(µs)*time.Microsecond)
		return sample, expect(ctx, q, 0)
	}
}

// quiet is after what time without an event a process takes it that there are no
// more.
const quiet = time.Second

// share handles what it gets of a backlog: how many events, and when the first
// and the last, in microseconds since 1970.
func share(ctx context.Context, q queue) (trial.Sample, error) {
	var handled, first, last atomic.Int64
	stop, err := q.consume(ctx, handlers, func(string) {
		now := time.Now().UnixMicro()
		first.CompareAndSwap(0, now)
		last.Store(now)
		handled.Add(1)
	})
	if err != nil {
		return nil, err
	}
	for begin, look := time.Now(), time.NewTicker(quiet/10); ; <-look.C {
		if since := time.Since(time.UnixMicro(last.Load())); since > quiet && time.Since(begin) > quiet {
			break
		}
	}
	if err := stop(ctx); err != nil {
		return nil, err
	}
	if handled.Load() == 0 {
		return nil, fmt.Errorf("one of two processes had nothing to do")
	}
	return trial.Sample{"handled": float64(handled.Load()), "first": float64(first.Load()), "last": float64(last.Load())}, nil
}
