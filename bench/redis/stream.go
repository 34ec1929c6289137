package redis

import (
	"context"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	goredis "github.com/redis/go-redis/v9"
)

// Names of the stream.
const (
	streamTopic = "bench"
	streamGroup = "group"
)

// streamQueue is a publisher and subscribers of Watermill on a Redis stream, with
// their defaults. A subscription handles one message at a time, so there is one
// for each handler, all in one consumer group.
type streamQueue struct {
	client    *goredis.Client
	publisher *redisstream.Publisher
}

// openStream makes a client with connections for 100 callers, or for each
// subscriber one on which it waits and one on which it acknowledges.
func openStream(_ context.Context, url string) (queue, error) {
	opt, err := goredis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opt.PoolSize = 100 + 2*handlers
	client := goredis.NewClient(opt)
	p, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, watermill.NopLogger{})
	return &streamQueue{client, p}, err
}

func (q *streamQueue) dispatch(ctx context.Context, body []byte) error {
	m := message.NewMessage(watermill.NewUUID(), body)
	m.SetContext(ctx)
	return q.publisher.Publish(streamTopic, m)
}

func (q *streamQueue) consume(ctx context.Context, handle func([]byte)) error {
	for range handlers {
		s, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: q.client, ConsumerGroup: streamGroup}, watermill.NopLogger{})
		if err != nil {
			return err
		}
		messages, err := s.Subscribe(ctx, streamTopic)
		if err != nil {
			return err
		}
		go func() {
			for m := range messages {
				handle(m.Payload)
				m.Ack()
			}
		}()
	}
	return nil
}

// waiting counts what is in the stream, where what was handled stays.
func (q *streamQueue) waiting(ctx context.Context) (int, error) {
	n, err := q.client.XLen(ctx, streamTopic).Result()
	return int(n), err
}
