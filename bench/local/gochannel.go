package local

import (
	"context"
	"strconv"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

// goChannelBus is the Go channel Pub/Sub of Watermill. Each handler has a
// subscription, and workers that receive from it; each message has a UUID, as
// Watermill wants it, and is acknowledged.
type goChannelBus struct {
	g       *gochannel.GoChannel
	topics  []string
	workers sync.WaitGroup
}

func openGoChannel(s setup, handler func(topic, i int) func(event)) (bus, error) {
	b := &goChannelBus{g: gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: queue}, watermill.NopLogger{})}
	for topic, handlers := range s.functions(handler) {
		name := strconv.Itoa(topic)
		b.topics = append(b.topics, name)
		for _, handle := range handlers {
			messages, err := b.g.Subscribe(context.Background(), name)
			if err != nil {
				return nil, err
			}
			for range s.workers {
				b.workers.Go(func() {
					for m := range messages {
						handle(event{body: string(m.Payload)})
						m.Ack()
					}
				})
			}
		}
	}
	return b, nil
}

func (b *goChannelBus) dispatch(topic int, e event) error {
	return b.g.Publish(b.topics[topic], message.NewMessage(watermill.NewUUID(), []byte(e.body)))
}

func (b *goChannelBus) close() error {
	err := b.g.Close()
	b.workers.Wait()
	return err
}
