package redis

import (
	"context"
	"errors"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// dispatch measures how many events a second so many callers store, each of which
// waits for the answer before it stores its next one.
func dispatch(callers, events int) func(context.Context, *trial.Env, queue) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		n := env.N(events)
		return storeRate(ctx, q, n, func(ctx context.Context, from, n int) error {
			return produceBodies(ctx, q, callers, from, n)
		})
	}
}

// dispatchBatch measures how many events a second one caller stores in batches.
func dispatchBatch(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
	b, ok := q.(batcher)
	if !ok {
		return nil, errors.New("it has no batches")
	}
	return storeRate(ctx, q, env.N(50_000), func(ctx context.Context, from, n int) error {
		return produceBatches(ctx, b, from, n)
	})
}

func storeRate(ctx context.Context, q queue, n int, store func(ctx context.Context, from, n int) error) (trial.Sample, error) {
	if err := store(ctx, n, warmUp); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := store(ctx, 0, n); err != nil {
		return nil, err
	}
	rate := float64(n) / time.Since(begin).Seconds()
	return trial.Sample{"rate": rate}, checkWaiting(ctx, q, n+warmUp)
}
