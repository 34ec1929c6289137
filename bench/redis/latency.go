package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// A pick-up work ends after pickUpLimit, when it has at least pickUpLeast events.
const (
	pickUpLimit = 3 * time.Second
	pickUpLeast = 5
)

// pickUp measures how long it takes from the call that stores a lone event until
// its handler is called, in ms. Each event follows the one before at random, after
// 20 to 120 ms.
func pickUp(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
	const warm = 3
	came := make(chan time.Time)
	err := q.consume(ctx, func([]byte) { came <- time.Now() })
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	n, begin := env.N(30), time.Now()
	for i := 0; i < warm+n && (time.Since(begin) < pickUpLimit || i < warm+pickUpLeast); i++ {
		<-time.After(20*time.Millisecond + rand.N(100*time.Millisecond))
		stored := time.Now()
		if err := q.dispatch(ctx, newBody(i)); err != nil {
			return nil, err
		}
		select {
		case at := <-came:
			took = append(took, at.Sub(stored))
		case <-ctx.Done():
			return nil, fmt.Errorf("event %d was not handled: %w", i, context.Cause(ctx))
		}
	}
	s := trial.Sample{}
	s.Spread(took[warm:], time.Millisecond)
	return s, nil
}

// delayed measures how long after their times events are handled, in ms, and how
// many before. One is due every 5 ms, the first a second after the beginning.
func delayed(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
	later, ok := q.(scheduler)
	if !ok {
		return nil, errors.New("it has no delays")
	}
	const every = 5 * time.Millisecond
	n := env.N(1000)
	t := newTally(0, n)
	if err := q.consume(ctx, t.handle); err != nil {
		return nil, err
	}
	first := time.Now().Add(time.Second)
	due := func(i int) time.Time { return first.Add(time.Duration(i) * every) }
	err := produce(ctx, 10, 0, n, func(ctx context.Context, i int) error {
		return later.dispatchAt(ctx, newBody(i), due(i))
	})
	if err != nil {
		return nil, err
	}
	if err := t.wait(ctx); err != nil {
		return nil, err
	}
	s, late := trial.Sample{"early": 0}, make([]time.Duration, n)
	for i := range late {
		if late[i] = time.Unix(0, t.at[i].Load()).Sub(due(i)); late[i] < 0 {
			s["early"]++
		}
	}
	s.Spread(late, time.Millisecond)
	return s, nil
}
