package redis

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare"
)

// topic is where fanfare's events go. Its payloads are bytes, so they need no codec.
var topic = fanfare.NewTopic[[]byte]("bench")

// fanfareQueue is a dispatcher of OpenRedis with its defaults.
type fanfareQueue struct {
	*fanfare.Durable
	consumer *fanfare.Registration
}

func openFanfare(_ context.Context, url string) (queue, error) {
	d, err := fanfare.OpenRedis(url)
	return &fanfareQueue{Durable: d}, err
}

func (q *fanfareQueue) dispatch(ctx context.Context, body []byte) error {
	return topic.Dispatch(ctx, q, body)
}

func (q *fanfareQueue) dispatchBatch(ctx context.Context, bodies [][]byte) error {
	return topic.DispatchBatch(ctx, q, bodies)
}

func (q *fanfareQueue) dispatchAt(ctx context.Context, body []byte, due time.Time) error {
	return topic.Dispatch(ctx, q, body, fanfare.At(due))
}

// dispatchLater stores events that are not due while a work lasts, in the
// greatest batches that one command takes.
func (q *fanfareQueue) dispatchLater(ctx context.Context, n int) error {
	for n > 0 {
		bodies := make([][]byte, min(n, 500))
		for i := range bodies {
			bodies[i] = newBody(0)
		}
		if err := topic.DispatchBatch(ctx, q, bodies, fanfare.Delay(time.Hour)); err != nil {
			return err
		}
		n -= len(bodies)
	}
	return nil
}

func (q *fanfareQueue) consume(ctx context.Context, handle func([]byte)) (err error) {
	q.consumer, err = topic.Register(ctx, q, func(_ context.Context, body []byte) error {
		handle(body)
		return nil
	}, fanfare.Concurrency(handlers))
	return err
}

// leave ends what consume began.
func (q *fanfareQueue) leave(ctx context.Context) error { return q.Remove(ctx, q.consumer) }

func (q *fanfareQueue) waiting(ctx context.Context) (int, error) {
	sum := 0
	queues, err := q.Status(ctx, topic.Name())
	for _, s := range queues {
		sum += s.Ready + s.Delayed
	}
	return sum, err
}
