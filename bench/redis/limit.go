package redis

import (
	"context"
	"fmt"
	"sync"

	"github.com/gomodule/redigo/redis"
	"github.com/google/uuid"
)

// The scripts of the limit: bodies in a hash, and their ids in one sorted set while
// they wait, by when they were stored, and in another one while they are leased.
var (
	limitPush = redis.NewScript(2, `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local due = {}
for i = 1, #ARGV, 2 do due[i], due[i + 1] = now, ARGV[i] end
redis.call('HSET', KEYS[1], unpack(ARGV))
redis.call('ZADD', KEYS[2], unpack(due))`)

	limitTake = redis.NewScript(3, `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
if #ids == 0 then return {} end
local ends = {}
for i, id in ipairs(ids) do ends[2 * i - 1], ends[2 * i] = now + 30000000, id end
redis.call('ZREM', KEYS[2], unpack(ids))
redis.call('ZADD', KEYS[3], unpack(ends))
return { ids, redis.call('HMGET', KEYS[1], unpack(ids)) }`)

	limitAck = redis.NewScript(2, `
redis.call('HDEL', KEYS[1], unpack(ARGV))
redis.call('ZREM', KEYS[2], unpack(ARGV))`)
)

// Keys of the limit.
const (
	limitBodies  = "bench:{b}:bodies"
	limitWaiting = "bench:{b}:waiting"
	limitLeases  = "bench:{b}:leases"
)

// limitQueue is the least that a system with ids, due times and leases has to ask
// of the server: one script call to store a batch, one to take 100 events and one
// to end them. It checks nothing, repeats nothing and wakes nobody.
type limitQueue struct{ pool *redis.Pool }

func openLimit(_ context.Context, url string) (queue, error) {
	return &limitQueue{&redis.Pool{
		MaxIdle:     100,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialURLContext(ctx, url) },
	}}, nil
}

func (q *limitQueue) dispatch(ctx context.Context, body []byte) error {
	return q.dispatchBatch(ctx, [][]byte{body})
}

func (q *limitQueue) dispatchBatch(ctx context.Context, bodies [][]byte) error {
	args := []any{limitBodies, limitWaiting}
	for _, body := range bodies {
		args = append(args, uuid.NewString(), body)
	}
	_, err := q.do(ctx, limitPush, args...)
	return err
}

func (q *limitQueue) do(ctx context.Context, s *redis.Script, args ...any) (any, error) {
	conn, err := q.pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reply, err := s.DoContext(ctx, conn, args...)
	return reply, err
}

// consume takes and ends events until there are none, which is the end of it.
func (q *limitQueue) consume(ctx context.Context, handle func([]byte)) error {
	work := make(chan []byte)
	var under sync.WaitGroup
	for range handlers {
		go func() {
			for body := range work {
				handle(body)
				under.Done()
			}
		}()
	}
	go func() {
		defer close(work)
		for {
			ids, bodies, err := q.take(ctx)
			if err != nil || len(ids) == 0 {
				return // the tally tells of what was not handled
			}
			under.Add(len(bodies))
			for _, body := range bodies {
				work <- body
			}
			under.Wait()
			if _, err := q.do(ctx, limitAck, append([]any{limitBodies, limitLeases}, ids...)...); err != nil {
				return
			}
		}
	}()
	return nil
}

// take returns the ids and bodies of up to 100 events.
func (q *limitQueue) take(ctx context.Context) ([]any, [][]byte, error) {
	reply, err := redis.Values(q.do(ctx, limitTake, limitBodies, limitWaiting, limitLeases, batchSize))
	if err != nil || len(reply) == 0 {
		return nil, nil, err
	}
	if len(reply) != 2 {
		return nil, nil, fmt.Errorf("%d values, want 2", len(reply))
	}
	ids, err := redis.Values(reply[0], nil)
	if err != nil {
		return nil, nil, err
	}
	bodies, err := redis.ByteSlices(reply[1], nil)
	return ids, bodies, err
}

func (q *limitQueue) waiting(ctx context.Context) (int, error) {
	conn, err := q.pool.GetContext(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return redis.Int(conn.Do("ZCARD", limitWaiting))
}
