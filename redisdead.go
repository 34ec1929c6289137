package fanfare

import (
	"context"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// Requeue lets dead messages wait again, due now.
func (b *redisBroker) Requeue(ctx context.Context, q driver.Queue, ids ...string) ([]error, error) {
	if err := checkRedisQueue(q); err != nil {
		return nil, err
	}
	outcomes := make([]error, 0, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), redisBatch)
		reply, err := b.run(ctx, requeueScript, b.queue(q).keys.forRequeue(), redisArgs(ids[:n])...)
		if err != nil {
			return nil, err
		}
		results, err := redisInts(reply, n)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			outcomes = append(outcomes, redisRequeueOutcome(ids[i], r))
		}
		ids = ids[n:]
	}
	return outcomes, nil
}

// redisRequeueOutcome is what a result of requeue.lua means.
func redisRequeueOutcome(id string, result int64) error {
	switch result {
	case 1:
		return nil
	case 2:
		return fmt.Errorf("redis: requeue %q: %w", id, driver.ErrDuplicate)
	default:
		return fmt.Errorf("redis: requeue %q: %w", id, driver.ErrNotFound)
	}
}

// DeleteDead removes dead messages and returns how many there were.
func (b *redisBroker) DeleteDead(ctx context.Context, q driver.Queue, ids ...string) (int, error) {
	if err := checkRedisQueue(q); err != nil {
		return 0, err
	}
	deleted := 0
	for len(ids) > 0 {
		n := min(len(ids), redisBatch)
		removed, err := b.runInt(ctx, deleteDeadScript, b.queue(q).keys.forDeleteDead(), redisArgs(ids[:n])...)
		if err != nil {
			return deleted, err
		}
		deleted += removed
		ids = ids[n:]
	}
	return deleted, nil
}

// Purge removes as many messages as wait and run when it begins, some at a time.
func (b *redisBroker) Purge(ctx context.Context, q driver.Queue) (int, error) {
	if err := checkRedisQueue(q); err != nil {
		return 0, err
	}
	keys := b.queue(q).keys
	all, err := b.living(ctx, keys)
	if err != nil {
		return 0, err
	}
	purged := 0
	for purged < all {
		n, err := b.runInt(ctx, purgeScript, keys.forPurge(), min(redisBatch, all-purged))
		if err != nil {
			return purged, err
		}
		if n == 0 {
			break
		}
		purged += n
	}
	return purged, nil
}

// living counts what waits and runs.
func (b *redisBroker) living(ctx context.Context, keys *redisKeys) (int, error) {
	replies, err := b.pipeline(ctx, [][]any{
		{"ZCARD", keys.lanes[0]}, {"ZCARD", keys.lanes[1]}, {"ZCARD", keys.lanes[2]}, {"ZCARD", keys.leases},
	}, false)
	if err != nil {
		return 0, err
	}
	for _, r := range replies {
		if e, ok := r.(RedisError); ok {
			return 0, redisError(e, false)
		}
	}
	counts, err := redisInts(replies, len(replies))
	if err != nil {
		return 0, err
	}
	all := int64(0)
	for _, n := range counts {
		all += n
	}
	return int(all), nil
}

// Pause pauses a group of a topic, or the whole topic where q.Group is empty.
func (b *redisBroker) Pause(ctx context.Context, q driver.Queue) error {
	field, err := redisPause(q)
	if err != nil {
		return err
	}
	if _, err := b.topic(ctx, q.Topic, true); err != nil { // so that Status shows it
		return err
	}
	_, err = b.client.Do(ctx, "HSET", redisMetaKey(b.prefix, q.Topic), field, "1")
	return redisInTime(ctx, redisError(err, true))
}

// Resume ends what Pause with the same q began, and wakes consumers.
func (b *redisBroker) Resume(ctx context.Context, q driver.Queue) error {
	field, err := redisPause(q)
	if err != nil {
		return err
	}
	t, err := b.topic(ctx, q.Topic, false)
	if err != nil {
		return err
	}
	groups := t.holders()
	if q.Group != "" {
		groups = []string{q.Group}
	}
	keys := b.keysOf(q.Topic, groups, func(k *redisKeys) []string { return []string{k.wake} })
	_, err = b.run(ctx, resumeScript, keys, field)
	return err
}

// redisPause returns the field of the meta hash that says that q is paused.
func redisPause(q driver.Queue) (string, error) {
	if err := driver.CheckName("topic", q.Topic); err != nil {
		return "", err
	}
	if q.Group == "" {
		return "pause", nil
	}
	return "pause:" + q.Group, driver.CheckName("group", q.Group)
}

// runInt runs a script that returns a number of messages.
func (b *redisBroker) runInt(ctx context.Context, s *redisScript, keys []string, args ...any) (int, error) {
	reply, err := b.run(ctx, s, keys, args...)
	if err != nil {
		return 0, err
	}
	n, err := redisInt(reply)
	return int(n), err
}

func redisArgs(ids []string) []any {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return args
}
