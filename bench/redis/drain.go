package redis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// drain measures how many events a second one process handles of a backlog, from
// when it begins to consume until the last handler was called.
func drain(events int) func(context.Context, *trial.Env, queue) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		n := env.N(events)
		if err := fill(ctx, q, n); err != nil {
			return nil, err
		}
		t := newTally(0, n)
		begin := time.Now()
		if err := q.consume(ctx, t.handle); err != nil {
			return nil, err
		}
		if err := t.wait(ctx); err != nil {
			return nil, err
		}
		return trial.Sample{"rate": float64(n) / t.last().Sub(begin).Seconds()}, nil
	}
}

// drainTogether measures the same with several processes, which are ready to
// consume and told to begin at once.
func drainTogether(processes, events int) func(context.Context, *trial.Env, queue) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		n := env.N(events)
		if env.Part > 0 {
			return drainPart(ctx, env, q, n)
		}
		if err := fill(ctx, q, n); err != nil {
			return nil, err
		}
		var parts []*trial.Process
		for part := range processes {
			p, err := env.Spawn(ctx, part+1)
			if err != nil {
				return nil, err
			}
			if err := p.Ready(); err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
		begin := time.Now()
		for _, p := range parts {
			if err := p.Go(); err != nil {
				return nil, err
			}
		}
		handled, last := 0, 0.0
		for _, p := range parts {
			s, err := p.Wait()
			if err != nil {
				return nil, err
			}
			if s["handled"] == 0 {
				return nil, errors.New("one process handled nothing")
			}
			handled, last = handled+int(s["handled"]), max(last, s["last"])
		}
		if handled != n {
			return nil, fmt.Errorf("%d of %d events were handled", handled, n)
		}
		return trial.Sample{"rate": float64(n) / (last - seconds(begin))}, nil
	}
}

// quiet is after how long without an event a process of several ends.
const quiet = 1500 * time.Millisecond

// drainPart handles events until none come any more, and returns how many, and
// when the last one came in seconds since 1970.
func drainPart(ctx context.Context, env *trial.Env, q queue, n int) (trial.Sample, error) {
	if _, err := q.waiting(ctx); err != nil { // opens a connection
		return nil, err
	}
	if err := env.Await(); err != nil {
		return nil, err
	}
	t, events := newTally(0, n), atomic.Int64{}
	err := q.consume(ctx, func(body []byte) {
		t.handle(body)
		events.Add(1)
	})
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	for seen := int64(-1); seen != events.Load(); {
		seen = events.Load()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return trial.Sample{"handled": float64(t.count()), "last": seconds(t.last())}, nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// through measures how many events a second pass from producers to the handlers
// of the same process, from the first dispatch until the last handler was called.
func through(producers, events int) func(context.Context, *trial.Env, queue) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		n := env.N(events)
		t, warm := newTally(0, n), newTally(n, warmUp)
		err := q.consume(ctx, func(body []byte) {
			warm.handle(body)
			t.handle(body)
		})
		if err != nil {
			return nil, err
		}
		if err := produceBodies(ctx, q, producers, n, warmUp); err != nil {
			return nil, err
		}
		if err := warm.wait(ctx); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := produceBodies(ctx, q, producers, 0, n); err != nil {
			return nil, err
		}
		if err := t.wait(ctx); err != nil {
			return nil, err
		}
		return trial.Sample{"rate": float64(n) / t.last().Sub(begin).Seconds()}, nil
	}
}
