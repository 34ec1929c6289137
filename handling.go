package fanfare

import "context"

// handling is the context of one call of a durable dispatcher's handler, in which
// the dispatcher finds again what is being handled.
type handling struct {
	context.Context
	envelope
	c     *consumer
	l     *lease
	limit int // of attempts
}

type handlingKey struct{}

// handlingFrom returns what is being handled, and false if ctx does not come from
// a handler of a durable dispatcher.
func handlingFrom(ctx context.Context) (*handling, bool) {
	h, ok := ctx.Value(handlingKey{}).(*handling)
	return h, ok
}

func (h *handling) Value(key any) any {
	switch key.(type) {
	case handlingKey, deliveryKey:
		return h
	}
	return h.Context.Value(key)
}

// String is for those who print a context: it shows nothing of the event.
func (h *handling) String() string { return "fanfare.Durable handler of " + quoteName(h.c.queue.Topic) }

func (h *handling) delivery() Delivery {
	return Delivery{
		ID: h.l.ID, Topic: h.c.queue.Topic, Group: h.c.queue.Group,
		Attempt: h.l.Attempt, Fence: h.l.Fence,
		Failures: h.l.Failures, MaxAttempts: h.limit, Priority: Priority(h.l.Priority),
		DispatchedAt: h.dispatchedAt, DueAt: h.l.Due, Headers: h.headers,
	}
}
