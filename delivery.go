package fanfare

import (
	"context"
	"time"
)

// Delivery is what a handler may know of the event besides its payload.
type Delivery struct {
	ID    string
	Topic string
	Group string
	// Attempt counts the times that the event was handed to a handler of the
	// group, this one included, without those that a [Dispatcher].Stop gave back.
	Attempt int
	// Fence grows with every claim of the event: what the handler writes to may
	// remember it and refuse a smaller one, which comes from a process that was
	// overtaken. In process it is the attempt.
	Fence int64
	// Failures counts the attempts before that ended with an error; MaxAttempts
	// is how many may, or [Unlimited].
	Failures    int
	MaxAttempts int
	Priority    Priority
	// DispatchedAt is by the clock of the process that dispatched the event,
	// DueAt by the clock of the dispatcher's backend. In process both may be early,
	// by about a millisecond, where or just after more than 300,000 events came in
	// a second, and by more where the machine is so busy that timers are late.
	DispatchedAt time.Time
	DueAt        time.Time
	// Headers must not be changed.
	Headers map[string]string
}

type deliveryKey struct{}

// DeliveryFrom returns what is known of the event that is being handled, and
// false if ctx does not come from a handler.
func DeliveryFrom(ctx context.Context) (Delivery, bool) {
	if ctx == nil {
		return Delivery{}, false
	}
	s, ok := ctx.Value(deliveryKey{}).(deliverySource)
	if !ok {
		return Delivery{}, false
	}
	return s.delivery(), true
}

// ContextWithDelivery returns a context as a handler gets it, for tests of
// handlers that ask for their Delivery.
func ContextWithDelivery(ctx context.Context, d Delivery) context.Context {
	return context.WithValue(ctx, deliveryKey{}, deliverySource(d))
}

// deliverySource is what a handler's context carries. In process the Delivery
// is made only for those who ask.
type deliverySource interface {
	delivery() Delivery
}

func (d Delivery) delivery() Delivery { return d }
