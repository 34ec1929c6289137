package sql

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// How far apart events are due, and when the first of them is, counted from when
// the first is inserted.
const (
	dueEvery = 20 * time.Millisecond
	dueFirst = time.Second
)

// late inserts n events that are due one after another, and measures how much
// later each is handled.
func late(n int) work {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		d, ok := q.(delayer)
		if !ok {
			return nil, fmt.Errorf("%T has no delays", q)
		}
		n := env.N(n)
		return measure(ctx, q, n, func(i int, begin time.Time) error {
			due := begin.Add(dueFirst + time.Duration(i)*dueEvery)
			return d.insertAt(ctx, write(due.UnixMicro()), due)
		})
	}
}

// pickUpEvery is how far apart events are for which a consumer wakes up.
const pickUpEvery = 110 * time.Millisecond

// pickUp inserts n events one after another by another client, so that the
// consumer is idle, and measures the time from before each insert until its event
// is handled.
func pickUp(open open, n int) work {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		other, err := open(ctx, env.URL)
		if err != nil {
			return nil, err
		}
		defer other.close()
		pace := time.NewTicker(pickUpEvery)
		defer pace.Stop()
		return measure(ctx, q, env.N(n), func(int, time.Time) error {
			<-pace.C
			return other.insert(ctx, write(time.Now().UnixMicro()))
		})
	}
}

// measure starts a consumer, lets it handle one event, inserts n more and returns
// the spread of the milliseconds between the instants in their texts and when
// they were handled.
func measure(ctx context.Context, q queue, n int, insert func(i int, begin time.Time) error) (trial.Sample, error) {
	var mu sync.Mutex
	var measured []time.Duration
	warm, all := make(chan struct{}), newTally(n)
	var once sync.Once
	stop, err := q.consume(ctx, handlers, func(text string) {
		at := read(text)
		if at == 0 {
			once.Do(func() { close(warm) })
			return
		}
		late := time.Since(time.UnixMicro(at))
		mu.Lock()
		defer mu.Unlock()
		measured = append(measured, late)
		all.handle(write(int64(len(measured) - 1)))
	})
	if err != nil {
		return nil, err
	}
	if err := q.insert(ctx, write(0)); err != nil {
		return nil, err
	}
	select {
	case <-warm:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	begin := time.Now()
	for i := range n {
		if err := insert(i, begin); err != nil {
			return nil, err
		}
	}
	if err := all.wait(ctx); err != nil {
		return nil, err
	}
	if err := stop(ctx); err != nil {
		return nil, err
	}
	if err := expect(ctx, q, 0); err != nil {
		return nil, err
	}
	sample := trial.Sample{}
	sample.Spread(measured, time.Millisecond)
	if len(measured) != n {
		return nil, fmt.Errorf("%d events were handled, want %d", len(measured), n)
	}
	return sample, nil
}
