package fanfare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// relayPrefix begins the names of the groups of relays, so that none is also the
// group of a service.
const relayPrefix = "relay:"

// Relay registers a handler that forwards each event of a topic to another
// dispatcher when it is due: with its id, payload, headers, priority and own
// [MaxAttempts]. It has a group of its own, "relay:" and the name, so it gets the
// events that are dispatched after it was first registered, or after
// [Queue.Create] of that group. Each relay of a topic has its own retries, status
// and dead letters: use one for each target.
//
// Together with [Durable.InTx] it is an outbox: events are written with the data
// that they are about, and reach the target although processes are killed at any
// point. The event is forwarded before it is done here. So it may be forwarded
// twice, and the target refuses the second with ErrDuplicate, which counts as
// forwarded. That takes a window of the target, see [WithDedupWindow], that is
// longer than the relay's [Lease] and Backoff, and than the outages to be
// bridged: who comes later than that makes a duplicate. By the same rule an id
// that is used again within the window, or while the first event of it waits,
// reaches the target once.
//
// What the target will never take goes to the relay's dead letters at once: what
// matches ErrTooLarge, ErrInvalid, ErrUnsupported, ErrOption, ErrTopicType or
// ErrDecode. After every other error, ErrUnknownOutcome included, it tries again:
// [Unlimited] times, with Exponential(1s, 30s, 0.5), and 30s for each try, unless
// opts say otherwise. The event's own MaxAttempts is for the target's handlers and
// does not limit the relay. [Group] and [AtMostOnce] are refused. For the order of
// the events see [Concurrency].
//
// A [Fanout] as a target has an event when each of its dispatchers has it; a
// repetition goes to all of them.
func (d *Durable) Relay(ctx context.Context, topic, name string, to Target, opts ...HandlerOption) (*Registration, error) {
	if isNil(to) {
		return nil, fmt.Errorf("relay: %w", ErrNilDispatcher)
	}
	if same, ok := to.(*Durable); ok && same == d {
		return nil, fmt.Errorf("relay of a dispatcher to itself: %w", ErrInvalid)
	}
	all := []HandlerOption{MaxAttempts(Unlimited), Exponential(time.Second, 30*time.Second, 0.5), Timeout(30 * time.Second)}
	return d.Register(ctx, topic, relay{to}, append(append(all, opts...), asRelay(name))...)
}

// asRelay is the last option of a relay.
func asRelay(name string) HandlerOption {
	return handlerOption(func(c *handlerConfig) error {
		if c.group != "" || c.atMostOnce {
			return errors.New("a relay has its own Group and is never AtMostOnce")
		}
		if name == "" {
			return fmt.Errorf("relay without a name: %w", ErrInvalid)
		}
		c.ownLimit = true
		return Group(relayPrefix + name).applyHandler(c)
	})
}

// relay is the handler that forwards.
type relay struct{ to Target }

func (r relay) Handle(ctx context.Context, event any) error {
	h, ok := handlingFrom(ctx)
	if !ok {
		return fmt.Errorf("relay: middleware replaced the handler's context: %w", ErrInvalid)
	}
	err := r.to.Dispatch(ctx, h.c.queue.Topic, withOptions{event: event, settings: h.settings()})
	switch fateOf(err) {
	case done:
		return nil
	case dead:
		return Discard(err)
	}
	var part *FanoutError
	if errors.As(err, &part) {
		return errors.New(err.Error()) // without what one dispatcher will never take
	}
	return err
}

// settings are those with which the event was dispatched, but for its time, which
// has come, and its Conflict, which was met.
func (h *handling) settings() settings {
	return settings{
		id: h.l.ID, ownID: true, timed: true, inherited: true,
		priority: Priority(h.l.Priority), headers: h.headers, maxAttempts: h.maxAttempts,
	}
}

// refusals are the errors of a dispatch that is of no use to repeat.
var refusals = []error{
	ErrTooLarge, ErrInvalid, ErrUnsupported, ErrOption, ErrTopicType, ErrDecode,
	ErrNoTopicSpecified, ErrNoEventSpecified,
}

// fateOf says what becomes of an event that was forwarded with err.
func fateOf(err error) outcome {
	var handlers *synchronousError
	var part *FanoutError
	switch {
	case err == nil:
		return done
	case errors.As(err, &handlers):
		return retry
	case errors.As(err, &part):
		return fateOfAll(part.Outcomes)
	case errors.Is(err, ErrDuplicate):
		return done
	case slices.ContainsFunc(refusals, func(refusal error) bool { return errors.Is(err, refusal) }):
		return dead
	}
	return retry
}

// fateOfAll is retry while a repetition may be of use to one of the dispatchers.
func fateOfAll(outcomes []Outcome) outcome {
	all := done
	for _, o := range outcomes {
		switch fateOf(o.Err) {
		case retry:
			return retry
		case dead:
			all = dead
		}
	}
	return all
}
