package local

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fanfare-go/fanfare"
)

// fanfareBus is a fanfare.Local with typed topics. Its workers are those of a
// topic, which its handlers share.
type fanfareBus struct {
	l      *fanfare.Local
	topics []fanfare.Topic[event]
}

func openFanfare(s setup, handler func(topic, i int) func(event)) (bus, error) {
	l, err := fanfare.NewLocal(fanfare.WithParallelThreshold(s.workers), fanfare.WithMaxQueued(s.topics*queue))
	if err != nil {
		return nil, err
	}
	b := &fanfareBus{l: l}
	for topic, handlers := range s.functions(handler) {
		t := fanfare.NewTopic[event]("topic" + strconv.Itoa(topic))
		b.topics = append(b.topics, t)
		for _, handle := range handlers {
			if err := listen(l, t, handle); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func listen(l *fanfare.Local, t fanfare.Topic[event], handle func(event)) error {
	_, err := t.Register(context.Background(), l, func(_ context.Context, e event) error {
		handle(e)
		return nil
	})
	return err
}

func (b *fanfareBus) dispatch(topic int, e event) error {
	return b.topics[topic].Dispatch(context.Background(), b.l, e)
}

func (b *fanfareBus) close() error { return b.l.Stop(context.Background()) }

// fanfareSchedule is a fanfare.Local with one topic.
type fanfareSchedule struct {
	l     *fanfare.Local
	topic fanfare.Topic[event]
}

func scheduleFanfare(capacity int, handle func(event)) (scheduler, error) {
	l, err := fanfare.NewLocal(fanfare.WithParallelThreshold(2), fanfare.WithMaxQueued(capacity))
	if err != nil {
		return nil, err
	}
	t := fanfare.NewTopic[event]("delayed")
	return &fanfareSchedule{l, t}, listen(l, t, handle)
}

func (s *fanfareSchedule) schedule(e event, delay time.Duration) error {
	return s.topic.Dispatch(context.Background(), s.l, e, fanfare.Delay(delay))
}

func (s *fanfareSchedule) withdraw() (int, error) {
	err := s.l.Stop(context.Background())
	var left *fanfare.StopError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &left) && left.Running == 0:
		return left.Dropped, nil
	}
	return 0, fmt.Errorf("stop: %w", err)
}
