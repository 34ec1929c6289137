package fanfare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Dispatch stores one event for every group of the topic, or for the group
// "default" while the topic has none. After nil it is stored as safely as the
// backend stores anything. An error that matches ErrUnknownOutcome says that it
// may be stored: repeat the dispatch with the same [ID], which stores it once. One
// that matches ErrDuplicate besides says that the id is known by now: from this
// dispatch, or from an earlier one.
//
// Concurrent dispatches to one topic share calls to the backend: while two are
// under way, those that come wait until one has returned, 10 ms at most, and go
// together. A lone dispatch goes at once.
func (d *Durable) Dispatch(ctx context.Context, topic string, event any) error {
	return d.dispatch(ctx, topic, event)
}

func (d *Durable) dispatchOne(ctx context.Context, topic string, event any) error {
	return d.pushOne(ctx, &d.convoys, topic, event)
}

// DispatchBatch dispatches many events of one topic in as few steps as the
// backend has: on Redis up to 500 at once. Each event is accepted or refused for
// itself, also where it is nil, too large or has a wrong option. It returns nil if all are accepted, a *[BatchError] with
// the outcome of each, or another error if nothing was tried.
func (d *Durable) DispatchBatch(ctx context.Context, topic string, events []any) error {
	return d.pushBatch(ctx, d.broker, topic, events)
}

// pusher is what takes messages: a broker, its part of a transaction, or convoys.
type pusher interface {
	Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error)
}

func (d *Durable) pushOne(ctx context.Context, to pusher, topic string, event any) error {
	errs, err := d.push(ctx, to, topic, []any{event})
	if err != nil {
		return err
	}
	return errs[0]
}

func (d *Durable) pushBatch(ctx context.Context, to pusher, topic string, events []any) error {
	events, err := d.throughMiddleware(ctx, topic, events)
	if err != nil || len(events) == 0 {
		return err
	}
	errs, err := d.push(ctx, to, topic, events)
	if err != nil {
		return err
	}
	if errors.Join(errs...) != nil {
		return &BatchError{Topic: topic, Errs: errs}
	}
	return nil
}

// throughMiddleware lets the dispatch middleware see each event of a batch
// before any is sent.
func (d *Durable) throughMiddleware(ctx context.Context, topic string, events []any) ([]any, error) {
	if len(d.dispatching) == 0 {
		return events, nil
	}
	seen := make([]any, 0, len(events))
	each := wrapDispatch(func(_ context.Context, to string, event any) error {
		if to != topic {
			return fmt.Errorf("middleware moved an event of a batch to topic %s: %w", quoteName(to), ErrInvalid)
		}
		seen = append(seen, event)
		return nil
	}, d.dispatching)
	for i, event := range events {
		if err := each(ctx, topic, event); err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
	}
	return seen, nil
}

// BatchError reports a batch of which not every event was accepted.
type BatchError struct {
	Topic string
	Errs  []error // for each event in order; nil if it was accepted
}

func (e *BatchError) Error() string {
	failed, first := 0, -1
	for i, err := range e.Errs {
		if err != nil {
			failed++
			if first < 0 {
				first = i
			}
		}
	}
	return fmt.Sprintf("dispatch to %s: %d of %d events not accepted; event %d: %v", quoteName(e.Topic), failed, len(e.Errs), first, e.Errs[first])
}

// Unwrap returns the errors of the events that were not accepted.
func (e *BatchError) Unwrap() []error {
	var errs []error
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// push sends events to the backend and returns the outcome of each, or an error
// if none was tried.
func (d *Durable) push(ctx context.Context, to pusher, topic string, events []any) ([]error, error) {
	begin := time.Now()
	if ctx == nil {
		return nil, fmt.Errorf("dispatch: nil context: %w", ErrInvalid)
	}
	if err := checkTopic(topic); err != nil {
		return nil, err
	}
	if d.isStopping() {
		return nil, ErrStopped
	}
	if err := d.mayPush(ctx, to); err != nil {
		return nil, fmt.Errorf("dispatch to %s: %w", quoteName(topic), err)
	}
	ids, errs := make([]string, len(events)), make([]error, len(events))
	msgs, place := make([]driver.Message, 0, len(events)), make([]int, 0, len(events))
	ours := make([]bool, len(events)) // ids that nobody else can have
	for i, event := range events {
		msg, own, err := d.message(ctx, event)
		ids[i], ours[i], errs[i] = msg.ID, !own, err
		if err == nil {
			msgs, place = append(msgs, msg), append(place, i)
		}
	}
	if len(msgs) > 0 {
		outcomes, err := to.Push(ctx, topic, msgs)
		for n, i := range place {
			if errs[i] = err; err == nil {
				errs[i] = outcomes[n]
			}
			if ours[i] && errors.Is(errs[i], ErrDuplicate) && errors.Is(errs[i], ErrUnknownOutcome) {
				errs[i] = nil // what the broker stored at its first try
			}
		}
	}
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("dispatch %s to %s: %w", quoteName(ids[i]), quoteName(topic), err)
		}
		d.count(statusOf(err))
		d.observer.dispatched(Observation{Topic: topic, ID: ids[i], Duration: time.Since(begin), Err: errs[i]})
	}
	return errs, nil
}

// mayPush returns why the backend is not durable enough for a dispatch, if so. In
// a transaction it is not asked, which could wait for the transaction to end.
func (d *Durable) mayPush(ctx context.Context, to pusher) error {
	switch to.(type) {
	case driver.Broker, *convoys:
		return d.requireDurability(ctx)
	}
	return d.requireDurabilityKnown()
}

// message makes of an event what the backend stores, and reports whether its
// caller chose the id.
func (d *Durable) message(ctx context.Context, event any) (driver.Message, bool, error) {
	if isNil(event) {
		return driver.Message{}, false, ErrNoEventSpecified
	}
	payload, s, err := resolve(ctx, event)
	if err != nil {
		return driver.Message{}, false, err
	}
	if s.id == "" {
		s.id = NewID()
	}
	refused := driver.Message{ID: s.id}
	data, contentType, err := encodePayload(d.codec, payload)
	if err != nil {
		return refused, s.ownID, err
	}
	body := envelope{
		dispatchedAt: time.Now(), maxAttempts: s.maxAttempts,
		contentType: contentType, headers: s.headers, payload: data,
	}.encode()
	if len(body) > d.maxPayload {
		return refused, s.ownID, fmt.Errorf("%d bytes, want at most %d: %w", len(body), d.maxPayload, ErrTooLarge)
	}
	return driver.Message{
		ID: s.id, Delay: s.delay, At: s.at, Body: body,
		Priority: driver.Priority(s.priority), Conflict: driver.Conflict(s.conflict),
	}, s.ownID, nil
}
