package redis

import (
	"context"
	"errors"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// idleFor is for how long an idle consumer is watched.
const idleFor = 4 * time.Second

// idle counts the commands a second that a consumer costs the server while there
// is nothing to do: those that it sends, and all that the server runs, also in
// scripts. It begins a second after an event was handled.
func idle(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
	t := newTally(0, 1)
	if err := q.consume(ctx, t.handle); err != nil {
		return nil, err
	}
	if err := q.dispatch(ctx, newBody(0)); err != nil {
		return nil, err
	}
	if err := t.wait(ctx); err != nil {
		return nil, err
	}
	<-time.After(time.Second)
	i, err := openInfo(ctx, env.URL)
	if err != nil {
		return nil, err
	}
	before, err := i.commands()
	if err != nil {
		return nil, err
	}
	sent, err := countSent(ctx, env.URL, idleFor)
	if err != nil {
		return nil, err
	}
	after, err := i.commands()
	return trial.Sample{
		"sent": float64(sent) / idleFor.Seconds(),
		"run":  float64(after-before) / idleFor.Seconds(),
	}, err
}

// memory measures how many bytes the server needs for an event that waits.
func memory(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
	n := env.N(20_000)
	if err := produceBodies(ctx, q, 10, n, warmUp); err != nil {
		return nil, err
	}
	i, err := openInfo(ctx, env.URL)
	if err != nil {
		return nil, err
	}
	before, err := i.memory()
	if err != nil {
		return nil, err
	}
	if err := produceBodies(ctx, q, 10, 0, n); err != nil {
		return nil, err
	}
	after, err := i.memory()
	if err != nil {
		return nil, err
	}
	return trial.Sample{"bytes": float64(after-before) / float64(n)}, checkWaiting(ctx, q, n+warmUp)
}

// depth measures how much longer it takes to handle the same number of events
// where many others wait for their time than where few do.
func depth(few, many, events int) func(context.Context, *trial.Env, queue) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
		f, ok := q.(*fanfareQueue)
		if !ok {
			return nil, errors.New("its consumers cannot be ended")
		}
		var took [2]time.Duration
		n, wait := env.N(events), 0
		for i, upTo := range []int{env.N(few), env.N(many)} {
			if err := f.dispatchLater(ctx, upTo-wait); err != nil {
				return nil, err
			}
			wait = upTo
			if err := produceBatches(ctx, f, 0, n); err != nil {
				return nil, err
			}
			if err := checkWaiting(ctx, f, wait+n); err != nil {
				return nil, err
			}
			t, begin := newTally(0, n), time.Now()
			if err := f.consume(ctx, t.handle); err != nil {
				return nil, err
			}
			if err := t.wait(ctx); err != nil {
				return nil, err
			}
			took[i] = t.last().Sub(begin)
			if err := f.leave(ctx); err != nil {
				return nil, err
			}
		}
		return trial.Sample{"ratio": float64(took[1]) / float64(took[0])}, nil
	}
}
