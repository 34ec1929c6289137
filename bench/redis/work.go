package redis

import (
	"context"
	"time"

	gocraft "github.com/gocraft/work"
	"github.com/gomodule/redigo/redis"
)

// Names of gocraft/work.
const (
	workSpace = "bench"
	workJob   = "event"
)

// workQueue is an enqueuer and a worker pool of gocraft/work with their defaults,
// on a pool that has a connection for each caller and handler.
type workQueue struct {
	pool     *redis.Pool
	enqueuer *gocraft.Enqueuer
}

func openWork(ctx context.Context, url string) (queue, error) {
	const connections = 100 + 2*handlers
	pool := &redis.Pool{
		MaxActive: connections, MaxIdle: connections, Wait: true,
		Dial: func() (redis.Conn, error) { return redis.DialURLContext(ctx, url) },
	}
	return &workQueue{pool, gocraft.NewEnqueuer(workSpace, pool)}, nil
}

func (q *workQueue) dispatch(_ context.Context, body []byte) error {
	_, err := q.enqueuer.Enqueue(workJob, gocraft.Q{"body": string(body)})
	return err
}

// dispatchAt rounds up to seconds, which are what gocraft/work takes.
func (q *workQueue) dispatchAt(_ context.Context, body []byte, due time.Time) error {
	in := (time.Until(due) + time.Second - 1) / time.Second
	_, err := q.enqueuer.EnqueueIn(workJob, int64(in), gocraft.Q{"body": string(body)})
	return err
}

func (q *workQueue) consume(_ context.Context, handle func([]byte)) error {
	pool := gocraft.NewWorkerPool(struct{}{}, handlers, workSpace, q.pool)
	pool.Job(workJob, func(job *gocraft.Job) error {
		handle([]byte(job.ArgString("body")))
		return job.ArgError()
	})
	pool.Start()
	return nil
}

func (q *workQueue) waiting(context.Context) (int, error) {
	queues, err := gocraft.NewClient(workSpace, q.pool).Queues()
	if err != nil || len(queues) == 0 {
		return 0, err
	}
	return int(queues[0].Count), nil
}
