package fanfare

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fanfare-go/fanfare/driver"
)

// Durable is a [Dispatcher] over a backend that keeps events until they were
// handled: at least once, in this or in any other process. [NewRedis] makes one
// on Redis, [New] one on any [driver.Broker].
type Durable struct {
	config
	counters
	broker   driver.Broker
	convoys  convoys
	owned    io.Closer // closed with the dispatcher; may be nil
	name     string    // of this process, as a consumer
	dispatch DispatchFunc
	weather  weather

	durability durabilityKeeper
	detach     func() bool // from the context that stops the dispatcher

	mu        sync.Mutex
	consumers map[driver.Queue]*consumer // what is registered
	living    map[*consumer]struct{}     // and what was, and has not yet ended
	stopping  bool
	stopped   chan struct{} // closed when stopErr is final
	stopErr   error
}

var _ Dispatcher = (*Durable)(nil)

// New returns a dispatcher over b, which stays the caller's to close. It starts
// nothing: a process that only dispatches has no goroutine of it.
func New(b driver.Broker, opts ...Option) (*Durable, error) {
	c, err := newConfig(durable, opts)
	if err != nil {
		return nil, err
	}
	if isNil(b) {
		return nil, fmt.Errorf("nil broker: %w", ErrOption)
	}
	if _, ok := b.(driver.Assessor); !ok && c.required > DurabilityUnknown {
		return nil, fmt.Errorf("%w: RequireDurability: %w", ErrOption, ErrUnsupported)
	}
	return newDurable(b, c), nil
}

func newDurable(b driver.Broker, c config) *Durable {
	d := &Durable{
		config:    c,
		broker:    b,
		convoys:   convoys{broker: b},
		name:      NewID(),
		consumers: map[driver.Queue]*consumer{},
		living:    map[*consumer]struct{}{},
		stopped:   make(chan struct{}),
		detach:    func() bool { return true },
	}
	d.weather.logger = c.logger
	d.durability.turn = make(chan struct{}, 1)
	if limit := b.Capabilities().MaxBody; limit > 0 {
		d.maxPayload = min(d.maxPayload, limit)
	}
	d.dispatch = wrapDispatch(d.dispatchOne, c.dispatching)
	if c.ctx.Done() != nil {
		d.detach = context.AfterFunc(c.ctx, func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), c.grace)
			defer cancel()
			_ = d.Stop(ctx) // whoever wants to know calls Stop
		})
	}
	return d
}

// Capabilities returns what the backend can do.
func (d *Durable) Capabilities() Capabilities {
	c := d.broker.Capabilities()
	result := Capabilities{
		Durable: c.Durable, Delay: c.Delay, UniqueID: c.UniqueID, Conflict: c.Conflict, Priority: c.Priority,
		Groups: c.Groups, AtMostOnce: c.AtMostOnce, MaxPayload: d.maxPayload,
	}
	_, result.Cancel = d.broker.(driver.Canceler)
	_, result.Inspect = d.broker.(driver.Inspector)
	_, result.DeadLetters = d.broker.(driver.DeadLetters)
	_, result.Purge = d.broker.(driver.Purger)
	_, result.Pause = d.broker.(driver.Pauser)
	_, result.Tx = d.broker.(driver.Transactor)
	_, result.Durability = d.broker.(driver.Assessor)
	return result
}

// Stats returns what this dispatcher did in this process; see Status for the
// backend's view.
func (d *Durable) Stats() Stats { return d.stats() }

// Register adds a handler for a topic and a [Group], and starts to consume. It
// tells the backend of the group first and fails if that cannot be reached: then
// nothing is registered, and it may be tried again. From its return on the group
// gets a copy of every event of the topic, in this and in all other processes,
// also while no process handles it, until [Queue.Delete].
func (d *Durable) Register(ctx context.Context, topic string, h Handler, opts ...HandlerOption) (*Registration, error) {
	if err := checkTopic(topic); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	r, err := d.register(ctx, topic, h, opts)
	if err != nil {
		return nil, fmt.Errorf("register for %s: %w", quoteName(topic), err)
	}
	return r, nil
}

func (d *Durable) register(ctx context.Context, topic string, h Handler, opts []HandlerOption) (*Registration, error) {
	cfg, err := d.handlerConfig(h, opts)
	if err != nil {
		return nil, err
	}
	if ctx == nil {
		return nil, fmt.Errorf("nil context: %w", ErrInvalid)
	}
	c := newConsumer(d, driver.Queue{Topic: topic, Group: cfg.group}, wrapHandler(h, d.middleware), cfg)
	if err := d.claimPlace(c); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.quit, cancel)() // Stop does not wait for it
	err = d.requireDurability(ctx)
	if err == nil {
		err = d.broker.Subscribe(ctx, c.queue)
	}
	if err != nil {
		c.leave()
		c.ended()
		return nil, err
	}
	c.start()
	return &Registration{topic: topic, group: cfg.group, owner: c}, nil
}

func (d *Durable) handlerConfig(h Handler, opts []HandlerOption) (handlerConfig, error) {
	var none handlerConfig
	if isNil(h) {
		return none, ErrNilHandler
	}
	cfg, err := d.handler(opts)
	if err != nil {
		return none, err
	}
	if cfg.group == "" {
		cfg.group = driver.DefaultGroup
	}
	if cfg.lease == 0 {
		cfg.lease = d.lease
	}
	if cfg.concurrency == 0 {
		cfg.concurrency = d.concurrency
	}
	can := d.broker.Capabilities()
	switch {
	case cfg.synchronous:
		return none, fmt.Errorf("%w: Synchronous: %w", ErrOption, ErrUnsupported)
	case cfg.atMostOnce && !can.AtMostOnce:
		return none, fmt.Errorf("%w: AtMostOnce: %w", ErrOption, ErrUnsupported)
	case cfg.group != driver.DefaultGroup && !can.Groups:
		return none, fmt.Errorf("%w: Group(%q): %w", ErrOption, cfg.group, ErrUnsupported)
	}
	return cfg, nil
}

func (d *Durable) claimPlace(c *consumer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return ErrStopped
	}
	if d.consumers[c.queue] != nil {
		return fmt.Errorf("group %s: %w", quoteName(c.queue.Group), ErrGroupTaken)
	}
	d.consumers[c.queue], d.living[c] = c, struct{}{}
	return nil
}

func (d *Durable) leavePlace(c *consumer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.consumers[c.queue] == c {
		delete(d.consumers, c.queue)
	}
}

func (d *Durable) isStopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

// Remove implements [Dispatcher]. The group stays known to the backend and
// goes on getting events; see [Queue.Delete].
func (d *Durable) Remove(ctx context.Context, r *Registration) error {
	if ctx == nil {
		return fmt.Errorf("remove: nil context: %w", ErrInvalid)
	}
	c, ok := (*consumer)(nil), false
	if r != nil {
		c, ok = r.owner.(*consumer)
	}
	if !ok || c.d != d {
		return ErrNoHandlerFound
	}
	return c.remove(ctx)
}

// Stop implements [Dispatcher]: it stops claiming, waits for running handlers
// until ctx ends, and then gives what they have not finished back to the
// backend, where other processes find it at once and without an attempt counted.
func (d *Durable) Stop(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("stop: nil context: %w", ErrInvalid)
	}
	d.mu.Lock()
	first := !d.stopping
	d.stopping = true
	consumers := make([]*consumer, 0, len(d.living))
	for c := range d.living {
		consumers = append(consumers, c)
	}
	d.mu.Unlock()
	if first {
		d.detach()
		d.finish(ctx, consumers)
		return d.stopErr
	}
	select {
	case <-d.stopped:
		return d.stopErr
	case <-ctx.Done():
		return &StopError{Err: context.Cause(ctx)}
	}
}

// finish ends all consumers and publishes what they left behind.
func (d *Durable) finish(ctx context.Context, consumers []*consumer) {
	defer close(d.stopped)
	left := make([]StopError, len(consumers))
	var g errgroup.Group
	for i, c := range consumers {
		g.Go(func() error {
			left[i] = c.stop(ctx)
			return nil
		})
	}
	_ = g.Wait()
	var sum StopError
	for _, l := range left {
		sum.Running += l.Running
		sum.Released += l.Released
		if l.Err != nil {
			sum.Err = l.Err
		}
	}
	if d.owned != nil {
		if err := d.owned.Close(); err != nil && sum.Err == nil {
			sum.Err = err
		}
	}
	if sum != (StopError{}) {
		d.stopErr = &sum
	}
}
