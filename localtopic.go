package fanfare

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// localTopic is a topic that has handlers. When the last one was removed it is
// forgotten, and a later Register makes a new one.
type localTopic struct {
	l      *Local
	name   string
	kind   eventKind
	shared anyLane // of the handlers without a lane of their own; nil if none
	ids    localIDs

	// routes changes under Local.mu. It is nil once the topic is forgotten.
	routes atomic.Pointer[routes]
}

// routes says where the events of a topic go. It does not change.
type routes struct {
	handlers    []*localHandler // all, in the order of their registration
	synchronous []*localHandler
	lanes       []anyLane
	sole        bool // there is one lane and nothing else
	shortcut    any  // the *shortcut[T] to that, if there may be one
}

func newLocalTopic(l *Local, name string, kind eventKind) *localTopic {
	t := &localTopic{l: l, name: name, kind: kind}
	t.ids = localIDs{l: l, known: map[string]*trackedID{}}
	t.routes.Store(&routes{})
	return t
}

// admits says whether the topic takes another handler.
func (t *localTopic) admits(h *localHandler, kind eventKind) error {
	if kind != t.kind && kind != untyped && t.kind != untyped {
		return fmt.Errorf("a handler of %s on a topic of %s: %w", kind, t.kind, ErrTopicType)
	}
	for _, other := range t.routes.Load().handlers {
		if h.named && other.named && other.group == h.group {
			return fmt.Errorf("group %s: %w", quoteName(h.group), ErrGroupTaken)
		}
	}
	return nil
}

// add gives a handler its lane. The caller holds Local.mu.
func (t *localTopic) add(h *localHandler) {
	h.t = t
	switch {
	case h.synchronous:
	case h.concurrency > 0:
		h.lane = t.kind.newLane(t, h.concurrency)
	default:
		if t.shared == nil {
			t.shared = t.kind.newLane(t, t.l.config.concurrency)
		}
		h.lane = t.shared
	}
	if h.lane != nil {
		h.alone = newAudience(h.lane, []*localHandler{h})
		h.lane.add(h)
	}
	t.route(append(slices.Clone(t.routes.Load().handlers), h))
}

// drop takes a handler away and returns the events that were queued for nobody
// but it: copies, and a number of others. The caller holds Local.mu.
func (t *localTopic) drop(h *localHandler) (left []*localCopy, plain int) {
	t.route(slices.DeleteFunc(slices.Clone(t.routes.Load().handlers), func(other *localHandler) bool { return other == h }))
	if h.lane == nil {
		return nil, 0
	}
	left, plain = h.lane.remove(h)
	if h.lane == t.shared && h.lane.audience() == nil {
		t.shared = nil
	}
	if h.lane.audience() == nil {
		t.l.dispatchedBefore += h.lane.pushed()
	}
	return left, plain
}

func (t *localTopic) route(handlers []*localHandler) {
	defer t.routes.Load().block()
	if len(handlers) == 0 {
		t.routes.Store(nil)
		return
	}
	r := &routes{handlers: handlers}
	for _, h := range handlers {
		switch {
		case h.synchronous:
			r.synchronous = append(r.synchronous, h)
		case !slices.Contains(r.lanes, h.lane):
			r.lanes = append(r.lanes, h.lane)
		}
	}
	if r.sole = len(r.lanes) == 1 && len(r.synchronous) == 0; r.sole && t.l.short {
		r.shortcut = r.lanes[0].shortcut()
	}
	t.routes.Store(r)
}

// block ends the shortcut, when the routes are no longer those of the topic.
func (r *routes) block() {
	if r == nil {
		return
	}
	if s, ok := r.shortcut.(interface{ block() }); ok {
		s.block()
	}
}

// shortcut leads to the lane of a topic where all events go, for those who
// dispatch to the topic again. A [Topic] keeps it for longer than the lane lives.
type shortcut[T any] struct {
	lane atomic.Pointer[lane[T]]
}

// shortcut returns one to the lane, or nil if each event has to be looked at.
func (q *lane[T]) shortcut() any {
	if !q.straight {
		return nil
	}
	s := &shortcut[T]{}
	s.lane.Store(q)
	return s
}

func (s *shortcut[T]) block() { s.lane.Store(nil) }

// find returns the lane if it is one of l.
func (s *shortcut[T]) find(l *Local) *lane[T] {
	if s == nil {
		return nil
	}
	if q := s.lane.Load(); q != nil && q.l == l {
		return q
	}
	return nil
}

// eventKind is the type of a topic's events, or that it has none.
type eventKind interface {
	newLane(t *localTopic, limit int) anyLane
	// convert returns an event that was dispatched untyped as one of the kind.
	convert(event any) (any, error)
	String() string
}

// untyped is the kind of a topic whose first handler was not a typed one.
var untyped eventKind = kindOf[any]{}

type kindOf[T any] struct{}

func (kindOf[T]) newLane(t *localTopic, limit int) anyLane { return newLane[T](t, limit) }
func (kindOf[T]) String() string                           { return fmt.Sprintf("%T", new(T))[1:] }

func (k kindOf[T]) convert(event any) (any, error) {
	if _, ok := event.(T); ok {
		return event, nil
	}
	if e, ok := event.(Encoded); ok {
		var v T
		if err := e.Decode(&v); err != nil {
			return nil, err
		}
		return v, nil
	}
	return nil, fmt.Errorf("an event of %T on a topic of %s: %w", event, k, ErrTopicType)
}

func (h typedHandler[T]) kind() eventKind { return kindOf[T]{} }

// kindOfHandler returns the kind of topic that a handler makes.
func kindOfHandler(h Handler) eventKind {
	if typed, ok := h.(interface{ kind() eventKind }); ok {
		return typed.kind()
	}
	return untyped
}
