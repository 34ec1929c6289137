package fanfare

import (
	"context"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// redisVerbs are the words of settle.lua for all verbs but Ack.
var redisVerbs = map[driver.Verb]string{
	driver.Retry:   "retry",
	driver.Release: "release",
	driver.Bury:    "bury",
}

// Settle ends claims, each on its own.
func (b *redisBroker) Settle(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
	if err := checkRedisQueue(q); err != nil {
		return nil, err
	}
	keys := b.queue(q).keys.forSettle()
	outcomes := make([]error, len(s))
	for from := 0; from < len(s); from += redisBatch {
		to := min(from+redisBatch, len(s))
		if err := b.settle(ctx, keys, s[from:to], outcomes[from:to]); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// settle ends some claims with one script call and writes down their outcomes.
func (b *redisBroker) settle(ctx context.Context, keys []string, s []driver.Settlement, outcomes []error) error {
	args := []any{b.window, 0}
	var order []int // of the settlements in args
	for i, one := range s {
		if one.Verb == driver.Ack {
			args = append(args, one.ID, one.Token)
			order = append(order, i)
		}
	}
	args[1] = len(order)
	for i, one := range s {
		verb, ok := redisVerbs[one.Verb]
		switch {
		case ok:
			args = append(args, verb, one.ID, one.Token, redisMicros(one.Delay), redisInstant(one.At),
				cutRedisText(one.Reason, redisMaxText), cutRedisText(one.Error, redisMaxText))
			order = append(order, i)
		case one.Verb != driver.Ack:
			outcomes[i] = fmt.Errorf("redis: verb %d: %w", one.Verb, driver.ErrInvalid)
		}
	}
	if len(order) == 0 {
		return nil
	}
	reply, err := b.run(ctx, settleScript, keys, args...)
	if err != nil {
		return err
	}
	done, err := redisInts(reply, len(order))
	if err != nil {
		return err
	}
	for n, i := range order {
		if done[n] == 0 {
			outcomes[i] = fmt.Errorf("redis: settle %q: %w", s[i].ID, driver.ErrLeaseLost)
		}
	}
	return nil
}
