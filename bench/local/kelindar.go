package local

import kelindar "github.com/kelindar/event"

// kelindarBus is a kelindar/event dispatcher. Each handler has one goroutine and
// a queue of its own, which it looks at every 500 µs.
type kelindarBus struct {
	d *kelindar.Dispatcher
}

// kelindarEvent is an event with its topic, as kelindar wants it.
type kelindarEvent struct {
	event
	topic uint32
}

func (e kelindarEvent) Type() uint32 { return e.topic }

func openKelindar(s setup, handler func(topic, i int) func(event)) (bus, error) {
	b := &kelindarBus{kelindar.NewDispatcher()}
	for topic, handlers := range s.functions(handler) {
		for _, handle := range handlers {
			kelindar.SubscribeTo(b.d, uint32(topic), func(e kelindarEvent) { handle(e.event) })
		}
	}
	return b, nil
}

func (b *kelindarBus) dispatch(topic int, e event) error {
	kelindar.Publish(b.d, kelindarEvent{e, uint32(topic)})
	return nil
}

func (b *kelindarBus) close() error { return b.d.Close() }
