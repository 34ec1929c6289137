package redis

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// warmUp is how many events are stored before those that are measured, so that
// the connections are open and the server knows the scripts.
const warmUp = 400

// produce calls dispatch for the numbers from one on, with so many callers at once.
func produce(ctx context.Context, callers, from, n int, dispatch func(ctx context.Context, i int) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range callers {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := dispatch(ctx, from+i); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// produceBodies stores events, one for each number, one at a time for each caller.
func produceBodies(ctx context.Context, q queue, callers, from, n int) error {
	return produce(ctx, callers, from, n, func(ctx context.Context, i int) error {
		return q.dispatch(ctx, newBody(i))
	})
}

// batchSize is how many events are stored at once where that can be done.
const batchSize = 100

// produceBatches stores events in batches; the last one is smaller.
func produceBatches(ctx context.Context, b batcher, from, n int) error {
	for n > 0 {
		bodies := make([][]byte, min(n, batchSize))
		for i := range bodies {
			bodies[i] = newBody(from + i)
		}
		if err := b.dispatchBatch(ctx, bodies); err != nil {
			return err
		}
		from, n = from+len(bodies), n-len(bodies)
	}
	return nil
}

// fill stores the events from 0 on in the way that is fastest for the queue.
func fill(ctx context.Context, q queue, n int) error {
	var err error
	if b, ok := q.(batcher); ok {
		err = produceBatches(ctx, b, 0, n)
	} else {
		err = produceBodies(ctx, q, 10, 0, n)
	}
	if err != nil {
		return err
	}
	return checkWaiting(ctx, q, n)
}

// checkWaiting returns an error unless the server has exactly so many events.
func checkWaiting(ctx context.Context, q queue, want int) error {
	got, err := q.waiting(ctx)
	if err == nil && got != want {
		err = fmt.Errorf("%d events wait, want %d", got, want)
	}
	return err
}
