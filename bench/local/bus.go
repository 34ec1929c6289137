package local

// event is what is dispatched: 24 bytes with a body of 100 that they refer to.
type event struct {
	number int
	body   string
}

// body is that of every event.
var body = string(make([]byte, 100))

// queue bounds the events that wait in each queue of a peer. It is that of
// kelindar, which cannot be changed.
const queue = 50_000

// setup is what a work needs of a peer: topics with handlers each, handled by
// workers. Where a peer's workers belong to a handler or a topic, each has as
// many.
type setup struct {
	topics, handlers, workers int
}

// bus is a peer that was set up.
type bus interface {
	dispatch(topic int, e event) error
	close() error
}

// opener sets a peer up. Handler returns the function of one handler of a topic.
type opener func(s setup, handler func(topic, i int) func(event)) (bus, error)

// functions returns the handlers of each topic.
func (s setup) functions(handler func(topic, i int) func(event)) [][]func(event) {
	all := make([][]func(event), s.topics)
	for topic := range all {
		for i := range s.handlers {
			all[topic] = append(all[topic], handler(topic, i))
		}
	}
	return all
}
