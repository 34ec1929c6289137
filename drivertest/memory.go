package drivertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Memory is the reference broker. It keeps messages in memory, has every
// ability that package driver knows, and reads as the specification: what the
// contract says is done in the plainest way.
//
// It takes the time from package time alone, starts no goroutine and never
// waits with a lock held, so it works in a bubble of testing/synctest.
type Memory struct {
	window time.Duration

	mu     sync.Mutex // guards everything below
	closed bool
	topics map[string]*topic
	pushes int64 // messages stored so far
	claims int64 // claims made so far: the latest fence
}

var (
	_ driver.Broker      = (*Memory)(nil)
	_ driver.Canceler    = (*Memory)(nil)
	_ driver.Inspector   = (*Memory)(nil)
	_ driver.DeadLetters = (*Memory)(nil)
	_ driver.Purger      = (*Memory)(nil)
	_ driver.Pauser      = (*Memory)(nil)
)

// Option changes what NewMemory returns.
type Option func(*Memory)

// Window sets for how long the id of an acked or buried message stays known.
// The default is 60 s.
func Window(d time.Duration) Option {
	return func(m *Memory) { m.window = d }
}

// NewMemory returns a broker that keeps nothing yet.
func NewMemory(opts ...Option) *Memory {
	m := &Memory{window: time.Minute, topics: map[string]*topic{}}
	for _, opt := range opts {
		opt(m)
	}
	return m
}

// Capabilities reports everything but durability.
func (m *Memory) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Delay:      time.Nanosecond,
		UniqueID:   true,
		Conflict:   true,
		Priority:   true,
		Groups:     true,
		AtMostOnce: true,
		MaxBody:    maxBody,
	}
}

// maxBody is the greatest body that a Memory takes.
const maxBody = 16 << 20

// Subscribe makes sure that q.Topic has the group q.Group.
func (m *Memory) Subscribe(ctx context.Context, q driver.Queue) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return err
	}
	m.topic(q.Topic, time.Now()).queue(q.Group).subscribed = true
	return nil
}

// Unsubscribe removes the group and everything it holds.
func (m *Memory) Unsubscribe(ctx context.Context, q driver.Queue) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, q); err != nil {
		return err
	}
	m.topic(q.Topic, time.Now()).remove(q.Group)
	return nil
}

// Close makes every later call fail with an error that matches
// driver.ErrUnavailable. What was kept is gone.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, t := range m.topics {
		t.changed()
	}
	m.topics = nil
	return nil
}

// check says why a call about q cannot be served, if so.
func (m *Memory) check(ctx context.Context, q driver.Queue) error {
	if err := m.checkTopic(ctx, q.Topic); err != nil {
		return err
	}
	return driver.CheckName("group", q.Group)
}

func (m *Memory) checkTopic(ctx context.Context, name string) error {
	if err := m.checkOpen(ctx); err != nil {
		return err
	}
	return driver.CheckName("topic", name)
}

func (m *Memory) checkOpen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: %w: %w", driver.ErrUnavailable, err)
	}
	if m.closed {
		return fmt.Errorf("memory: closed: %w", driver.ErrUnavailable)
	}
	return nil
}

// topic returns the topic of the given name as it is at the instant now.
func (m *Memory) topic(name string, now time.Time) *topic {
	t := m.topics[name]
	if t == nil {
		t = &topic{queues: map[string]*queue{}, paused: map[string]bool{}}
		m.topics[name] = t
	}
	for _, q := range t.queues {
		q.advance(now)
	}
	return t
}
