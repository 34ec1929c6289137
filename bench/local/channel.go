package local

import "sync"

// channelBus is what one writes without a library: a buffered channel for each
// handler, and goroutines that receive from it.
type channelBus struct {
	topics  [][]chan event
	workers sync.WaitGroup
}

func openChannel(s setup, handler func(topic, i int) func(event)) (bus, error) {
	b := &channelBus{topics: make([][]chan event, s.topics)}
	for topic, handlers := range s.functions(handler) {
		for _, handle := range handlers {
			c := make(chan event, queue)
			b.topics[topic] = append(b.topics[topic], c)
			for range s.workers {
				b.workers.Go(func() {
					for e := range c {
						handle(e)
					}
				})
			}
		}
	}
	return b, nil
}

func (b *channelBus) dispatch(topic int, e event) error {
	for _, c := range b.topics[topic] {
		c <- e
	}
	return nil
}

func (b *channelBus) close() error {
	for _, topic := range b.topics {
		for _, c := range topic {
			close(c)
		}
	}
	b.workers.Wait()
	return nil
}
