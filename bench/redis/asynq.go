package redis

import (
	"context"
	"time"

	hibiken "github.com/hibiken/asynq"
)

// asynqQueue is a client, a server and an inspector of asynq.
type asynqQueue struct {
	redis  hibiken.RedisClientOpt
	config hibiken.Config
	client *hibiken.Client
}

// openAsynq leaves the settings at their defaults: 10 connections for each core,
// a look for events every second, and for delayed ones every 5 s.
func openAsynq(_ context.Context, url string) (queue, error) {
	return newAsynq(url, 0, hibiken.Config{})
}

// openAsynqBest looks every 10 ms, which is a hundred commands a second while
// there is nothing to do, and has a connection for each of 100 callers.
func openAsynqBest(_ context.Context, url string) (queue, error) {
	const often = 10 * time.Millisecond
	return newAsynq(url, 100+handlers, hibiken.Config{TaskCheckInterval: often, DelayedTaskCheckInterval: often})
}

func newAsynq(url string, connections int, c hibiken.Config) (queue, error) {
	opt, err := hibiken.ParseRedisURI(url)
	if err != nil {
		return nil, err
	}
	q := &asynqQueue{redis: opt.(hibiken.RedisClientOpt), config: c}
	q.redis.PoolSize = connections
	q.config.Concurrency, q.config.LogLevel = handlers, hibiken.FatalLevel
	q.client = hibiken.NewClient(q.redis)
	return q, nil
}

const asynqTask = "bench"

func (q *asynqQueue) dispatch(ctx context.Context, body []byte) error {
	_, err := q.client.EnqueueContext(ctx, hibiken.NewTask(asynqTask, body))
	return err
}

func (q *asynqQueue) dispatchAt(ctx context.Context, body []byte, due time.Time) error {
	_, err := q.client.EnqueueContext(ctx, hibiken.NewTask(asynqTask, body), hibiken.ProcessAt(due))
	return err
}

func (q *asynqQueue) consume(_ context.Context, handle func([]byte)) error {
	mux := hibiken.NewServeMux()
	mux.HandleFunc(asynqTask, func(_ context.Context, t *hibiken.Task) error {
		handle(t.Payload())
		return nil
	})
	return hibiken.NewServer(q.redis, q.config).Start(mux)
}

func (q *asynqQueue) waiting(context.Context) (int, error) {
	i := hibiken.NewInspector(q.redis)
	defer i.Close()
	s, err := i.GetQueueInfo("default")
	if err != nil {
		return 0, err
	}
	return s.Pending + s.Scheduled, nil
}
