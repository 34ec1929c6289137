package fanfare

import (
	"context"
	"sync/atomic"
)

// Topic is the declaration of a topic with the type of its events. It is used
// to dispatch and to handle, on any dispatcher, and keeps both ends of a program
// to one type:
//
//	var OrderPaid = fanfare.NewTopic[Order]("order.paid")
//
// A [Local] refuses events and handlers of another type with ErrTopicType. A
// durable dispatcher cannot know what other programs dispatch: what does not
// decode into a T goes to the dead letters, and what does is a T.
//
// The zero value has no name and is refused with ErrNoTopicSpecified.
type Topic[T any] struct {
	name string
	last *atomic.Pointer[shortcut[T]] // that was found
}

// NewTopic declares a topic. A name is 1 to 255 bytes of UTF-8; another one is
// refused where the topic is used.
func NewTopic[T any](name string) Topic[T] {
	return Topic[T]{name: name, last: new(atomic.Pointer[shortcut[T]])}
}

// Name returns the topic's name.
func (t Topic[T]) Name() string { return t.name }

// Dispatch dispatches an event to d, which may be a [Fanout] or a [Tx]. See
// [Dispatcher].Dispatch. To a [Local] where the topic's handlers are registered
// with a Topic[T] and share one pool, it allocates nothing: without options,
// outside of handlers, and without middleware or an observer.
func (t Topic[T]) Dispatch(ctx context.Context, d Target, event T, opts ...EventOption) error {
	if l, ok := d.(*Local); ok && l != nil && len(opts) <= 1 && ctx != nil && !inside(ctx) {
		if q := t.straight(l); q != nil && !(q.perhapsNil && isNil(event)) {
			if ok, err := q.dispatch(event, opts); ok {
				return err
			}
		}
	}
	if isNil(d) {
		return ErrNilDispatcher
	}
	if len(opts) == 0 {
		return d.Dispatch(ctx, t.name, event)
	}
	return d.Dispatch(ctx, t.name, With(event, opts...))
}

// straight returns the lane of the topic in l where all its events go as they
// are, or nil if there is none.
func (t Topic[T]) straight(l *Local) *lane[T] {
	if t.last == nil {
		return nil
	}
	if q := t.last.Load().find(l); q != nil {
		return q
	}
	return t.find(l)
}

func (t Topic[T]) find(l *Local) *lane[T] {
	found := l.topic(t.name)
	if found == nil {
		return nil
	}
	r := found.routes.Load()
	if r == nil {
		return nil
	}
	s, ok := r.shortcut.(*shortcut[T])
	if !ok {
		return nil
	}
	t.last.Store(s)
	return s.find(l)
}

// BatchTarget is what many events can be dispatched to at once: a [Durable] or
// a [Tx].
type BatchTarget interface {
	DispatchBatch(ctx context.Context, topic string, events []any) error
}

// DispatchBatch dispatches many events to d, each with the given options. See
// [Durable.DispatchBatch].
func (t Topic[T]) DispatchBatch(ctx context.Context, d BatchTarget, events []T, opts ...EventOption) error {
	if isNil(d) {
		return ErrNilDispatcher
	}
	all := make([]any, len(events))
	for i, event := range events {
		all[i] = With(event, opts...)
	}
	return d.DispatchBatch(ctx, t.name, all)
}

// Register registers a handler for the topic with d. See [Dispatcher].Register.
// An event that does not decode into a T goes to the dead letters.
func (t Topic[T]) Register(ctx context.Context, d Dispatcher, handle func(ctx context.Context, event T) error, opts ...HandlerOption) (*Registration, error) {
	if isNil(d) {
		return nil, ErrNilDispatcher
	}
	if handle == nil {
		return nil, ErrNilHandler
	}
	return d.Register(ctx, t.name, typedHandler[T](handle), opts...)
}

// typedHandler makes a Handler of a function for one type.
type typedHandler[T any] func(ctx context.Context, event T) error

func (h typedHandler[T]) Handle(ctx context.Context, event any) error {
	v, err := Decode[T](event)
	if err != nil {
		return err
	}
	return h(ctx, v)
}
