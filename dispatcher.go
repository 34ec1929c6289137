package fanfare

import (
	"context"
	"errors"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// Dispatcher takes events and runs the handlers registered for their topics.
// [Local] runs them in this process; [Durable] keeps events in a backend until a
// handler, in this or another process, has handled them. All methods may be
// called concurrently, also from inside a handler.
type Dispatcher interface {
	// Dispatch accepts one event for a topic. The event is any value, or one
	// that [With] has given options. After nil the event is accepted: its
	// handlers run as the dispatcher promises. After any other error but
	// ErrUnknownOutcome it is not.
	Dispatch(ctx context.Context, topic string, event any) error

	// Register adds a handler to a topic. After nil every event accepted from
	// then on reaches it. It keeps nothing of ctx.
	Register(ctx context.Context, topic string, h Handler, opts ...HandlerOption) (*Registration, error)

	// Remove takes away what Register added and waits for its running
	// handlers until ctx ends. Once it was called the handler starts no more,
	// whatever Remove returns. A second Remove returns ErrNoHandlerFound. A
	// handler that removes itself, with its own context, is not waited for.
	Remove(ctx context.Context, r *Registration) error

	// Stop refuses new events, finishes what is due, and returns when that is
	// done or ctx ends, whichever is first; handlers that still run then get
	// their contexts canceled with the cause ErrStopped. It returns nil if
	// nothing was left behind, else a *StopError. Further calls wait for the
	// same end. A handler may call it only with a context that ends.
	Stop(ctx context.Context) error
}

// Handler handles events. It is called concurrently.
type Handler interface {
	// Handle handles one event. In process the event is the value that was
	// dispatched; from a durable dispatcher it is an [Encoded]; [Decode] makes
	// the type that the handler wants of either. See [DeliveryFrom] for what else
	// is known. With nil the event is done for this handler; any error lets it
	// be tried again after the handler's [Backoff], up to its [MaxAttempts],
	// unless it comes from [RetryIn], [RetryAt] or [Discard]. A panic and
	// runtime.Goexit are errors too.
	Handle(ctx context.Context, event any) error
}

// HandleFunc is a function as a [Handler].
type HandleFunc func(ctx context.Context, event any) error

// Handle calls f.
func (f HandleFunc) Handle(ctx context.Context, event any) error { return f(ctx, event) }

// Registration is one handler of one topic of one dispatcher.
type Registration struct {
	topic, group string
	owner        any // what the dispatcher knows it by
}

// Topic returns the topic that the handler is registered for.
func (r *Registration) Topic() string { return r.topic }

// Group returns the group that the handler belongs to.
func (r *Registration) Group() string { return r.group }

// Errors of this package. Those of package driver are the same values under
// both names.
var (
	// ErrNoTopicSpecified reports an empty topic.
	ErrNoTopicSpecified = errors.New("no topic specified")
	// ErrNoEventSpecified reports a nil event.
	ErrNoEventSpecified = errors.New("no event specified")
	// ErrNoDispatcherSpecified reports a fan-out without a dispatcher.
	ErrNoDispatcherSpecified = errors.New("no dispatcher specified")
	// ErrNilDispatcher reports a fan-out with a nil among its dispatchers.
	ErrNilDispatcher = errors.New("nil dispatcher")
	// ErrSameDispatcher reports a fan-out that names a dispatcher twice.
	ErrSameDispatcher = errors.New("dispatcher named twice")
	// ErrNilHandler reports a nil handler.
	ErrNilHandler = errors.New("nil handler")
	// ErrNoHandlerFound reports an event of a topic that has no handler in
	// process, or a Registration that is not registered (any more).
	ErrNoHandlerFound = errors.New("no handler found")
	// ErrGroupTaken reports a second handler for one group of one topic. Give
	// it a [Group] of its own: each group gets its own copy of each event.
	ErrGroupTaken = errors.New("the group has a handler here already; give this one a Group of its own")
	// ErrTopicType reports an event or a handler of another type than the
	// topic has in this dispatcher.
	ErrTopicType = errors.New("the topic has another type")
	// ErrMaxQueuedEventsReached reports that as many events are accepted and
	// unfinished in process as [WithMaxQueued] allows.
	ErrMaxQueuedEventsReached = errors.New("max queued events reached")
	// ErrStopped reports a dispatcher that was stopped, and is the cause of a
	// handler's context that ends because of it.
	ErrStopped = errors.New("dispatcher stopped")
	// ErrTimeout is the cause of a handler's context that ends because of
	// [Timeout].
	ErrTimeout = errors.New("handler timed out")
	// ErrOption reports an option with a value that cannot be, or that this
	// dispatcher does not know.
	ErrOption = errors.New("invalid option")
	// ErrDecode reports a payload that does not decode into the wanted type.
	ErrDecode = errors.New("event does not decode")
	// ErrUnhealthy reports that due events wait for too long.
	ErrUnhealthy = errors.New("events wait for too long")

	ErrDuplicate      = driver.ErrDuplicate      // the id is known: see [ID]
	ErrLeaseLost      = driver.ErrLeaseLost      // another consumer may have the event
	ErrNotFound       = driver.ErrNotFound       // no such event
	ErrUnavailable    = driver.ErrUnavailable    // backend out of reach, nothing was changed
	ErrUnknownOutcome = driver.ErrUnknownOutcome // may or may not be done; repeating with the same id is safe
	ErrReadOnly       = driver.ErrReadOnly       // the backend is a replica; matches ErrUnavailable too
	ErrDenied         = driver.ErrDenied         // the backend's user may not do this; matches ErrUnavailable too
	ErrBackendFull    = driver.ErrFull           // the backend is out of memory or space
	ErrTooLarge       = driver.ErrTooLarge       // over the payload limit; nothing was sent
	ErrUnsupported    = driver.ErrUnsupported    // this dispatcher lacks it: see Capabilities
	ErrInvalid        = driver.ErrInvalid        // a name or value that no dispatcher takes
	ErrSchema         = driver.ErrSchema         // stored by another version of fanfare
)

// StopError says what a Stop left behind.
type StopError struct {
	// Running is the number of handlers that had not returned.
	Running int
	// Released is the number of events that were given back to the backend,
	// for other processes to handle at once.
	Released int
	// Dropped is the number of events accepted in process that were not handled,
	// delayed ones for the most part. [WithOnDrop] gets each of them.
	Dropped int
	// Err is why it did not wait: the error of its context, or nil.
	Err error
}

func (e *StopError) Error() string {
	s := fmt.Sprintf("stopped with %d handlers running, %d events released, %d dropped", e.Running, e.Released, e.Dropped)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *StopError) Unwrap() error { return e.Err }

// checkEvent refuses what no dispatcher takes.
func checkEvent(topic string, event any) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	if isNil(event) {
		return ErrNoEventSpecified
	}
	return nil
}

func checkTopic(topic string) error {
	if topic == "" {
		return ErrNoTopicSpecified
	}
	return driver.CheckName("topic", topic)
}
