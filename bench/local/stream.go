package local

import (
	"context"
	"errors"
	"fmt"
)

// stream is the events that a peer is given.
type stream struct {
	producers int
	tallies   [][]*tally // of each topic and its handlers
	sent      int        // to each topic, as of the end of the last run
}

func newStream(of setup, producers int) *stream {
	s := &stream{producers: producers, tallies: make([][]*tally, of.topics)}
	for topic := range s.tallies {
		for range of.handlers {
			s.tallies[topic] = append(s.tallies[topic], newTally())
		}
	}
	return s
}

// round returns a number of events that all producers and topics have an equal
// and whole number of steps of.
func (s *stream) round(n int) int {
	least := step * s.producers * len(s.tallies)
	return max(1, n/least) * least
}

// run dispatches n events and returns when all are handled.
func (s *stream) run(ctx context.Context, b bus, n int) error {
	done := make(chan error, s.producers)
	for range s.producers {
		go func() { done <- s.produce(ctx, b, n/s.producers) }()
	}
	var errs []error
	for range s.producers {
		errs = append(errs, <-done)
	}
	s.sent += n / len(s.tallies)
	return errors.Join(append(errs, s.wait(ctx, s.sent))...)
}

// ahead bounds the events that wait to be handled: a step less than a queue holds,
// since a peer may count an event for a moment longer than its handler runs.
const ahead = queue - step

// produce dispatches n events, as far as that, so that no peer refuses one.
func (s *stream) produce(ctx context.Context, b bus, n int) error {
	topics := len(s.tallies)
	for i := range n {
		if i%(step*topics) == 0 {
			sent := s.sent + (i/topics+step)*s.producers // soon, if all are as far
			if err := s.wait(ctx, sent-ahead); err != nil {
				return err
			}
		}
		if err := b.dispatch(i%topics, event{number: i, body: body}); err != nil {
			return err
		}
	}
	return nil
}

// wait returns when every handler has handled n events.
func (s *stream) wait(ctx context.Context, n int) error {
	for _, topic := range s.tallies {
		for _, t := range topic {
			if err := t.wait(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// check returns an error if an event was handled too often, or not at all.
func (s *stream) check() error {
	for _, topic := range s.tallies {
		for _, t := range topic {
			if n := t.n.Load(); n != int64(s.sent) {
				return fmt.Errorf("a handler was called %d times for %d events", n, s.sent)
			}
		}
	}
	return nil
}
