package fanfare

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Dispatch gives one event, under one id, to every dispatcher in the order of
// the arguments. All are tried, whatever the others answer. It returns nil if
// all accepted the event, else a *[FanoutError] with the outcome of each.
//
// An empty topic, a nil event, no dispatcher, a nil or a repeated one are
// refused before anything is sent, with ErrNoTopicSpecified,
// ErrNoEventSpecified, ErrNoDispatcherSpecified, ErrNilDispatcher and
// ErrSameDispatcher. There is no transaction over dispatchers: to repeat what
// failed is safe, see [FanoutError.Redispatch].
func Dispatch(ctx context.Context, topic string, event any, d Dispatcher, more ...Dispatcher) error {
	if d == nil && len(more) == 0 {
		return Fanout{}.Dispatch(ctx, topic, event)
	}
	return append(Fanout{d}, more...).Dispatch(ctx, topic, event)
}

// Target is what an event can be dispatched to: a [Dispatcher], a [Fanout] or a [Tx].
type Target interface {
	Dispatch(ctx context.Context, topic string, event any) error
}

// Fanout is a set of dispatchers as one target.
type Fanout []Dispatcher

// Dispatch works like the function [Dispatch].
func (f Fanout) Dispatch(ctx context.Context, topic string, event any) error {
	if ctx == nil {
		return fmt.Errorf("dispatch: nil context: %w", ErrInvalid)
	}
	if err := checkEvent(topic, event); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	o := withOptions{event: event}
	if w, ok := event.(withOptions); ok {
		o = w
	}
	if err := o.settings.err; err != nil {
		return err
	}
	if o.settings.id == "" {
		o.settings.id, o.settings.ownID = NewID(), false
	}
	// Once, so that all copies agree.
	o.settings.inherit(ctx)
	if d, ok := o.event.(DelayedEvent); ok && !o.timed {
		o.delay, o.timed = max(d.Delayed(), 0), true
	}
	return f.dispatch(ctx, topic, o)
}

func (f Fanout) check() error {
	if len(f) == 0 {
		return ErrNoDispatcherSpecified
	}
	for i, d := range f {
		if isNil(d) {
			return fmt.Errorf("dispatcher %d: %w", i+1, ErrNilDispatcher)
		}
		for _, other := range f[:i] {
			if reflect.ValueOf(d).Comparable() && d == other {
				return fmt.Errorf("dispatcher %d: %w", i+1, ErrSameDispatcher)
			}
		}
	}
	return nil
}

func (f Fanout) dispatch(ctx context.Context, topic string, event withOptions) error {
	result := &FanoutError{ID: event.settings.id, Topic: topic, Outcomes: make([]Outcome, len(f)), event: &event}
	failed := false
	for i, d := range f {
		err := guard(func() error { return d.Dispatch(ctx, topic, event) }, func(error) {})
		result.Outcomes[i] = Outcome{Dispatcher: d, Status: statusOf(err), Err: err}
		failed = failed || err != nil
	}
	if !failed {
		return nil
	}
	return result
}

// OutcomeStatus is what became of an event at one dispatcher.
type OutcomeStatus string

// The outcomes of a dispatch.
const (
	Accepted  OutcomeStatus = "accepted"
	Duplicate OutcomeStatus = "duplicate" // the id is known there already
	Rejected  OutcomeStatus = "rejected"  // not accepted
	Unknown   OutcomeStatus = "unknown"   // sent, and the answer was lost, or the dispatcher panicked
)

func statusOf(err error) OutcomeStatus {
	var handlers *synchronousError
	var panicked *PanicError
	switch {
	case err == nil:
		return Accepted
	case errors.As(err, &handlers):
		return Rejected
	case errors.Is(err, ErrUnknownOutcome), errors.As(err, &panicked):
		return Unknown
	case errors.Is(err, ErrDuplicate):
		return Duplicate
	}
	return Rejected
}

// Outcome is the answer of one dispatcher of a fan-out.
type Outcome struct {
	Dispatcher Dispatcher
	Status     OutcomeStatus
	Err        error // nil if accepted
}

// FanoutError reports a fan-out in which not every dispatcher accepted the
// event. errors.Is and errors.As see the errors of all of them.
type FanoutError struct {
	ID       string // the event's, the same everywhere
	Topic    string
	Outcomes []Outcome    // one for each dispatcher, in their order
	event    *withOptions // not shown when this is printed
}

func (e *FanoutError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dispatch %s to %s:", e.ID, quoteName(e.Topic))
	for i, o := range e.Outcomes {
		fmt.Fprintf(&b, " [%d %s", i+1, o.Status)
		if o.Err != nil {
			fmt.Fprintf(&b, ": %v", o.Err)
		}
		b.WriteByte(']')
	}
	return b.String()
}

// Unwrap returns the errors of the dispatchers that did not accept the event.
func (e *FanoutError) Unwrap() []error {
	var errs []error
	for _, o := range e.Outcomes {
		if o.Err != nil {
			errs = append(errs, o.Err)
		}
	}
	return errs
}

// Redispatch gives the same event, under the same id, again to the dispatchers
// that rejected it or whose answer is unknown, and to no other. A delay counts
// from now. It returns nil if all of them have the event now: a duplicate means
// that an earlier try had been accepted.
func (e *FanoutError) Redispatch(ctx context.Context) error {
	var again Fanout
	for _, o := range e.Outcomes {
		if o.Status == Rejected || o.Status == Unknown {
			again = append(again, o.Dispatcher)
		}
	}
	var left *FanoutError
	if err := again.dispatch(ctx, e.Topic, *e.event); !errors.As(err, &left) {
		return err
	}
	open := false
	for i := range left.Outcomes {
		if o := &left.Outcomes[i]; o.Status == Duplicate {
			o.Status, o.Err = Accepted, nil
		}
		open = open || left.Outcomes[i].Err != nil
	}
	if !open {
		return nil
	}
	return left
}

// isNil reports whether v is nil or a nil pointer, map, func, slice or channel.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Slice, reflect.Chan, reflect.Interface:
		return r.IsNil()
	}
	return false
}
