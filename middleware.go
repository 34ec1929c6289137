package fanfare

import "context"

// Middleware wraps the handling of events; see package middleware for some.
// next runs the rest of the chain and then the handler. It sees the event as
// [Handler].Handle does.
type Middleware func(next HandleFunc) HandleFunc

// DispatchFunc is the form of Dispatch.
type DispatchFunc func(ctx context.Context, topic string, event any) error

// DispatchMiddleware wraps dispatching. The event may carry options: hand it on
// as it is, or with more of them by [With].
type DispatchMiddleware func(next DispatchFunc) DispatchFunc

// wrapHandler puts middleware around h, and returns h itself if there is none.
func wrapHandler(h Handler, m []Middleware) Handler {
	if len(m) == 0 {
		return h
	}
	f := HandleFunc(h.Handle)
	for i := len(m) - 1; i >= 0; i-- {
		f = m[i](f)
	}
	return f
}

func wrapDispatch(f DispatchFunc, m []DispatchMiddleware) DispatchFunc {
	for i := len(m) - 1; i >= 0; i-- {
		f = m[i](f)
	}
	return f
}
