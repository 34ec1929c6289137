package local

import (
	"strconv"

	eventbus "github.com/asaskevich/EventBus"
)

// eventBusBus is an asaskevich/EventBus with asynchronous, not transactional
// handlers: each call has a goroutine of its own, without a bound.
type eventBusBus struct {
	b      eventbus.Bus
	topics []string
}

func openEventBus(s setup, handler func(topic, i int) func(event)) (bus, error) {
	b := &eventBusBus{b: eventbus.New()}
	for topic, handlers := range s.functions(handler) {
		name := strconv.Itoa(topic)
		b.topics = append(b.topics, name)
		for _, handle := range handlers {
			if err := b.b.SubscribeAsync(name, handle, false); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *eventBusBus) dispatch(topic int, e event) error {
	b.b.Publish(b.topics[topic], e)
	return nil
}

func (b *eventBusBus) close() error {
	b.b.WaitAsync()
	return nil
}
