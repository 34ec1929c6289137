package local

import (
	"errors"
	"time"

	"github.com/panjf2000/ants/v2"
)

// antsBus is a pool of ants for each handler. It has no queue: who dispatches
// waits for a goroutine that is free.
type antsBus struct {
	topics [][]*ants.PoolWithFuncGeneric[event]
}

func openAnts(s setup, handler func(topic, i int) func(event)) (bus, error) {
	b := &antsBus{make([][]*ants.PoolWithFuncGeneric[event], s.topics)}
	for topic, handlers := range s.functions(handler) {
		for _, handle := range handlers {
			p, err := ants.NewPoolWithFuncGeneric(s.workers, handle)
			if err != nil {
				return nil, err
			}
			b.topics[topic] = append(b.topics[topic], p)
		}
	}
	return b, nil
}

func (b *antsBus) dispatch(topic int, e event) error {
	for _, p := range b.topics[topic] {
		if err := p.Invoke(e); err != nil {
			return err
		}
	}
	return nil
}

func (b *antsBus) close() error {
	var errs []error
	for _, topic := range b.topics {
		for _, p := range topic {
			errs = append(errs, p.ReleaseTimeout(10*time.Second))
		}
	}
	return errors.Join(errs...)
}
