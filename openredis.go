package fanfare

import (
	"fmt"
)

// NewRedis returns a dispatcher whose events live in Redis, over a client that
// stays the caller's to close: one from [DialRedis], [RedigoPool] of a pool that
// there is already, or any other [RedisClient]. It does not connect and starts
// nothing. It works with Redis from 6.2 on. What it promises depends on how Redis is
// configured: see the README.
func NewRedis(client RedisClient, opts ...Option) (*Durable, error) {
	c, err := newConfig(redisKind, opts)
	if err != nil {
		return nil, err
	}
	if isNil(client) {
		return nil, fmt.Errorf("nil client: %w", ErrOption)
	}
	return newDurable(newRedisBroker(client, c.redisOptions()), c), nil
}

// OpenRedis is NewRedis over the server at address, "host:port" or a URL as
// [DialRedis] takes it, with connections of its own that Stop closes: what looks at
// queues, such as Status, then returns ErrStopped.
func OpenRedis(address string, opts ...Option) (*Durable, error) {
	client, err := DialRedis(address)
	if err != nil {
		return nil, fmt.Errorf("open redis: %w: %w", ErrOption, err)
	}
	d, err := NewRedis(client, opts...)
	if err != nil {
		return nil, err
	}
	d.owned = client
	return d, nil
}

func (c config) redisOptions() redisOptions {
	return redisOptions{
		prefix: c.prefix, window: c.window, maxBody: c.maxPayload,
		replicas: c.replicas, patience: c.patience,
	}
}
