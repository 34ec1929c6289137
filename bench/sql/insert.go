package sql

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// warmInserts is how many events each caller inserts before the clock runs.
const warmInserts = 5

// insert inserts n events, one in each call, by so many callers at once.
func insert(callers, n int) work {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		n := max(env.N(n), callers)
		if err := inParallel(ctx, q, callers, callers*warmInserts); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := inParallel(ctx, q, callers, n); err != nil {
			return nil, err
		}
		sample := rate(n, time.Since(begin))
		return sample, expect(ctx, q, n+callers*warmInserts)
	}
}

// inParallel inserts n events by so many callers at once.
func inParallel(ctx context.Context, q queue, callers, n int) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range callers {
		g.Go(func() error {
			for {
				i := next.Add(1)
				if i > int64(n) {
					return nil
				}
				if err := q.insert(ctx, write(i)); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// insertBatches inserts n events, 100 in each call, by one caller.
func insertBatches(n int) work {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		n := max(env.N(n)/batch, 1) * batch
		if err := backlog(ctx, q, batch); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := backlog(ctx, q, n); err != nil {
			return nil, err
		}
		sample := rate(n, time.Since(begin))
		return sample, expect(ctx, q, n+batch)
	}
}

// rate is the sample of n events in a time.
func rate(n int, d time.Duration) trial.Sample {
	return trial.Sample{"rate": float64(n) / d.Seconds()}
}
