package fanfare

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Local is a [Dispatcher] within this process. Each topic has a pool of
// goroutines that grows with what there is to do, up to
// [WithParallelThreshold], and shrinks when idle; a topic that is slow delays no
// other. The handlers of a topic that share its pool handle one event one after
// the other, in the order in which they were registered; a handler with a
// [Concurrency] has a pool of its own. What it has accepted ends with the process.
type Local struct {
	counters

	config config
	origin time.Time // of what now returns
	run    context.Context
	cancel context.CancelCauseFunc
	chain  DispatchFunc // the dispatch middleware and what it leads to
	short  bool         // nothing wants to see a dispatch

	topics sync.Map // of *localTopic by name
	timers timers
	pulse  pulse
	ended  atomic.Uint64 // calls of handlers

	_      [64]byte
	queued atomic.Int64 // units of [WithMaxQueued] in use, and stopBit
	_      [64]byte

	aborted    atomic.Bool
	drained    chan struct{}
	goroutines sync.WaitGroup
	unbind     func() bool // from the context of [WithContext]

	mu               sync.Mutex // for changes of topics and their routes
	handlers         map[*localHandler]struct{}
	dispatchedBefore uint64 // by lanes that are gone
}

var _ Dispatcher = (*Local)(nil)

// NewLocal returns a dispatcher within this process. It starts nothing until
// there is something to do, and is to be stopped when no longer used.
func NewLocal(opts ...Option) (*Local, error) {
	c, err := newConfig(local, opts)
	if err != nil {
		return nil, err
	}
	l := &Local{
		config:   c,
		origin:   time.Now(),
		short:    len(c.dispatching) == 0 && c.observer == nil,
		drained:  make(chan struct{}),
		handlers: map[*localHandler]struct{}{},
	}
	l.run, l.cancel = context.WithCancelCause(context.WithoutCancel(c.ctx))
	l.chain = wrapDispatch(l.dispatch, c.dispatching)
	l.timers = timers{
		now:        l.now,
		fire:       l.fire,
		interval:   c.interval,
		goroutines: &l.goroutines,
		wake:       make(chan struct{}, 1),
		quit:       make(chan struct{}),
	}
	l.bind()
	return l, nil
}

// bind lets the context of [WithContext] stop the dispatcher.
func (l *Local) bind() {
	bound := make(chan struct{})
	defer close(bound)
	l.unbind = context.AfterFunc(l.config.ctx, func() {
		<-bound
		ctx, cancel := context.WithTimeout(context.Background(), l.config.grace)
		defer cancel()
		if err := l.Stop(ctx); err != nil {
			l.config.logger.Warn("stopped with its context", "error", err)
		}
	})
}

// now returns nanoseconds on a clock that nobody sets.
func (l *Local) now() int64 { return int64(time.Since(l.origin)) }

// wall returns the instant at which now was t.
func (l *Local) wall(t int64) time.Time {
	now := time.Now()
	return now.Add(time.Duration(t) - now.Sub(l.origin))
}

// due returns when an event is due that waits for a delay, or until an instant.
func (l *Local) due(now int64, delay time.Duration, at time.Time) int64 {
	if !at.IsZero() {
		clock := time.Now() // now and at must be compared at one moment
		now, delay = int64(clock.Sub(l.origin)), max(at.Sub(clock), 0)
	}
	if due := now + int64(delay); due >= now {
		return due
	}
	return 1<<63 - 1
}

// Dispatch implements [Dispatcher]. It never waits for anything but synchronous
// handlers: a queue that is full is ErrMaxQueuedEventsReached, also inside a
// handler.
func (l *Local) Dispatch(ctx context.Context, topic string, event any) error {
	if ctx == nil {
		return fmt.Errorf("dispatch: nil context: %w", ErrInvalid)
	}
	return l.chain(ctx, topic, event)
}

// Register implements [Dispatcher]. The first handler of a topic decides its
// type: that of a [Topic], or none.
func (l *Local) Register(_ context.Context, topic string, h Handler, opts ...HandlerOption) (*Registration, error) {
	if topic == "" {
		return nil, ErrNoTopicSpecified
	}
	if err := driver.CheckName("topic", topic); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	fresh, err := l.newHandler(h, opts)
	if err == nil {
		err = l.register(topic, kindOfHandler(h), fresh)
	}
	if err != nil {
		return nil, fmt.Errorf("register for %s: %w", quoteName(topic), err)
	}
	return &Registration{topic: topic, group: fresh.group, owner: fresh}, nil
}

func (l *Local) register(topic string, kind eventKind, h *localHandler) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping() {
		return ErrStopped
	}
	t := l.topic(topic)
	known := t != nil
	if !known {
		t = newLocalTopic(l, topic, kind)
	}
	if err := t.admits(h, kind); err != nil {
		return err
	}
	t.add(h)
	l.handlers[h] = struct{}{}
	if !known {
		l.topics.Store(topic, t)
	}
	return nil
}

// Remove implements [Dispatcher]. Events that waited for this handler alone end
// unhandled. A topic whose last handler is removed is forgotten, with the ids of
// its events.
func (l *Local) Remove(ctx context.Context, r *Registration) error {
	if ctx == nil {
		return fmt.Errorf("remove: nil context: %w", ErrInvalid)
	}
	if r == nil {
		return ErrNoHandlerFound
	}
	h, ok := r.owner.(*localHandler)
	if !ok || h.l != l {
		return fmt.Errorf("remove from %s: %w", quoteName(r.topic), ErrNoHandlerFound)
	}
	return l.remove(ctx, h)
}

func (l *Local) remove(ctx context.Context, h *localHandler) error {
	left, plain, ok := l.unregister(h)
	if !ok {
		return fmt.Errorf("remove from %s: %w", quoteName(h.t.name), ErrNoHandlerFound)
	}
	for _, c := range append(left, l.orphans()...) {
		l.end(c)
	}
	if h.lane != nil {
		if _, last := h.lane.collect(); last {
			l.finish()
		}
	}
	l.release(plain)
	if caller, ok := ctx.Value(deliveryKey{}).(localContext); ok && caller.handledBy() == h {
		return nil
	}
	select {
	case <-h.idle:
		return nil
	default:
	}
	select {
	case <-h.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("remove from %s: wait for running handlers: %w", quoteName(h.t.name), context.Cause(ctx))
	}
}

// orphans withdraws the delayed events for which no handler is left.
func (l *Local) orphans() []*localCopy {
	all := l.timers.extract(func(to *audience) bool { return !to.listens() })
	return slices.DeleteFunc(all, func(c *localCopy) bool { return !c.withdraw() })
}

// unregister lets h start no more. It returns what was queued for nobody else,
// which the caller ends.
func (l *Local) unregister(h *localHandler) (left []*localCopy, plain int, ok bool) {
	defer func() {
		if ok {
			h.shut()
		}
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.removed {
		return nil, 0, false
	}
	h.removed = true
	left, plain = h.t.drop(h)
	if h.t.routes.Load() == nil {
		l.topics.Delete(h.t.name)
	}
	return left, plain, true
}

// retired takes a handler out of the books, which was removed and runs no more.
func (l *Local) retired(h *localHandler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.handlers, h)
}

// topic returns the topic of a name, or nil if it has no handlers.
func (l *Local) topic(name string) *localTopic {
	t, _ := l.topics.Load(name)
	found, _ := t.(*localTopic)
	return found
}

// lanes returns the lanes of all topics.
func (l *Local) lanes() []anyLane {
	var all []anyLane
	l.topics.Range(func(_, t any) bool {
		if r := t.(*localTopic).routes.Load(); r != nil {
			all = append(all, r.lanes...)
		}
		return true
	})
	return all
}

// running counts the handlers that run, removed ones too.
func (l *Local) running() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for h := range l.handlers {
		n += h.running()
	}
	return n
}

// collect lets all workers give back what they have not, and reports whether
// there was any.
func (l *Local) collect() bool {
	all, finish := false, false
	for _, q := range l.lanes() {
		some, last := q.collect()
		all, finish = all || some, finish || last
	}
	if finish {
		l.finish()
	}
	return all
}

// Stats returns the dispatcher's counters.
func (l *Local) Stats() Stats {
	l.collect()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats()
	s.Queued = int(l.queued.Load() &^ stopBit)
	s.Dispatched += l.dispatchedBefore
	for _, q := range l.lanes() {
		s.Dispatched += q.pushed()
	}
	for h := range l.handlers {
		s.Running += h.running()
	}
	s.Started = l.ended.Load() + uint64(s.Running)
	return s
}

// Capabilities says what the dispatcher can do.
func (l *Local) Capabilities() Capabilities {
	return Capabilities{
		Delay:       time.Nanosecond,
		UniqueID:    true,
		Conflict:    true,
		Priority:    true,
		Groups:      true,
		AtMostOnce:  true,
		Synchronous: true,
		Cancel:      true,
	}
}
