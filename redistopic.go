package fanfare

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

// redisRemember bounds how many topics, queues and consumers a broker remembers.
// What it forgets it reads again.
const redisRemember = 4096

// redisStale bounds how often a call is repeated because the groups changed.
const redisStale = 5

// redisTopic is what a broker remembers of a topic. It does not change: a new
// one takes its place.
type redisTopic struct {
	version    string   // of the group list
	groups     []string // sorted
	registered bool     // it stands in the hash of all topics
}

// receivers returns the groups that a message is stored for.
func (t *redisTopic) receivers() []string {
	if len(t.groups) == 0 {
		return []string{driver.DefaultGroup}
	}
	return t.groups
}

// holders returns the groups that may hold a message: also what was stored while
// there was no group.
func (t *redisTopic) holders() []string {
	if slices.Contains(t.groups, driver.DefaultGroup) {
		return t.groups
	}
	return append([]string{driver.DefaultGroup}, t.groups...)
}

// Subscribe makes sure that q.Topic has the group q.Group.
func (b *redisBroker) Subscribe(ctx context.Context, q driver.Queue) error {
	if err := checkRedisQueue(q); err != nil {
		return err
	}
	if _, err := b.topic(ctx, q.Topic, true); err != nil {
		return err
	}
	if err := b.changeGroup(ctx, q, "1"); err != nil {
		return err
	}
	b.setSubscribed(q, true)
	return nil
}

// subscribeAgain subscribes after the server lost the group, as it does when it
// loses data: else a consumer would wait for ever for messages that are stored
// for other groups. A group that was removed is no such case. If it fails, the
// next claim comes here again.
func (b *redisBroker) subscribeAgain(ctx context.Context, q driver.Queue) {
	b.forget(q.Topic)
	_ = b.Subscribe(ctx, q)
}

func (b *redisBroker) setSubscribed(q driver.Queue, subscribed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queueLocked(q).subscribed = subscribed
}

// Unsubscribe removes the group, and then what it holds, some at a time.
func (b *redisBroker) Unsubscribe(ctx context.Context, q driver.Queue) error {
	if err := checkRedisQueue(q); err != nil {
		return err
	}
	b.setSubscribed(q, false)
	if err := b.changeGroup(ctx, q, "0"); err != nil {
		return err
	}
	if _, err := b.Purge(ctx, q); err != nil {
		return err
	}
	keys := b.queue(q).keys.forForget()
	for {
		n, err := b.runInt(ctx, forgetScript, keys, redisBatch)
		if err != nil || n == 0 {
			return err
		}
	}
}

// changeGroup adds a group ("1") or removes it ("0").
func (b *redisBroker) changeGroup(ctx context.Context, q driver.Queue, add string) error {
	_, err := b.run(ctx, subscribeScript, []string{redisMetaKey(b.prefix, q.Topic)}, q.Group, add)
	b.forget(q.Topic)
	return err
}

// redisCall is a run of a script on the keys of several groups of a topic.
type redisCall struct {
	script *redisScript
	topic  string
	groups func(*redisTopic) []string
	keys   func(*redisKeys) []string // of each group
	idle   func(*redisKeys) []string // of the default group, where it is none of them; may be nil
	args   []any                     // the first is set to the version of the group list
	writes bool                      // it stores messages: it may be the first to, and replicas are waited for
}

// onGroups runs a script that answers nil if the groups are no longer those that
// it was given the keys of. Then it runs again, on the keys of the groups there
// are.
func (b *redisBroker) onGroups(ctx context.Context, c redisCall) (any, error) {
	for range redisStale {
		t, err := b.topic(ctx, c.topic, c.writes)
		if err != nil {
			return nil, err
		}
		c.args[0] = t.version
		run := b.run
		if c.writes && b.replicas > 0 {
			run = b.runReplicated
		}
		groups := c.groups(t)
		keys := b.keysOf(c.topic, groups, c.keys)
		if c.idle != nil && !slices.Contains(groups, driver.DefaultGroup) {
			q := b.queue(driver.Queue{Topic: c.topic, Group: driver.DefaultGroup})
			keys = slices.Insert(keys, 1, c.idle(q.keys)...)
		}
		reply, err := run(ctx, c.script, keys, c.args...)
		if err != nil || reply != nil {
			return reply, err
		}
		b.forget(c.topic)
	}
	return nil, fmt.Errorf("redis: groups of %q keep changing: %w", c.topic, driver.ErrUnavailable)
}

// keysOf returns the meta key of a topic and what pick returns of each group.
func (b *redisBroker) keysOf(topic string, groups []string, pick func(*redisKeys) []string) []string {
	keys := []string{redisMetaKey(b.prefix, topic)}
	for _, g := range groups {
		keys = append(keys, pick(b.queue(driver.Queue{Topic: topic, Group: g}).keys)...)
	}
	return keys
}

// topic returns the groups of a topic as they are remembered or, if they are
// not, as they are. register makes sure that the topic is in the list of all.
func (b *redisBroker) topic(ctx context.Context, name string, register bool) (*redisTopic, error) {
	b.mu.Lock()
	known := b.topics[name]
	b.mu.Unlock()
	if known != nil && (known.registered || !register) {
		return known, nil
	}
	t, err := b.readTopic(ctx, name)
	if err != nil {
		return nil, err
	}
	if register && !t.registered {
		if err := b.register(ctx, name); err != nil {
			return nil, err
		}
		t.registered = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.topics) >= redisRemember {
		clear(b.topics)
	}
	b.topics[name] = t
	return t, nil
}

// forget makes the broker read the groups of a topic again.
func (b *redisBroker) forget(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.topics, topic)
}

func (b *redisBroker) readTopic(ctx context.Context, name string) (*redisTopic, error) {
	replies, err := b.pipeline(ctx, [][]any{
		{"HGET", redisTopicsKey(b.prefix), name},
		{"HGETALL", redisMetaKey(b.prefix, name)},
	}, false)
	if err != nil {
		return nil, err
	}
	meta, err := parseRedisMeta(replies[1])
	if err != nil {
		return nil, err
	}
	registered, err := checkRedisLayout(name, replies[0])
	if err != nil {
		return nil, err
	}
	return &redisTopic{version: meta.version, groups: meta.groups, registered: registered}, nil
}

// register puts a topic in the list of all.
func (b *redisBroker) register(ctx context.Context, name string) error {
	topics := redisTopicsKey(b.prefix)
	replies, err := b.pipeline(ctx, [][]any{
		{"HSETNX", topics, name, redisLayout},
		{"HGET", topics, name},
	}, false)
	if err != nil {
		return err
	}
	for _, r := range replies {
		if e, ok := r.(RedisError); ok {
			return redisError(e, false)
		}
	}
	_, err = checkRedisLayout(name, replies[1])
	return err
}

// checkRedisLayout refuses a topic whose layout is not ours, and reports whether
// it is in the list of all.
func checkRedisLayout(topic string, reply any) (bool, error) {
	var version string
	switch v := reply.(type) {
	case nil:
		return false, nil
	case RedisError:
		return false, redisError(v, false)
	case []byte:
		version = string(v)
	case string:
		version = v
	}
	if version != redisLayout {
		return false, fmt.Errorf("redis: topic %q has layout %q, want %q: %w",
			topic, cutRedisText(version, 32), redisLayout, driver.ErrSchema)
	}
	return true, nil
}

// redisMeta is what the meta hash of a topic says.
type redisMeta struct {
	version string
	groups  []string        // sorted
	paused  map[string]bool // by group; "" is the whole topic
}

func (m redisMeta) isPaused(group string) bool { return m.paused[""] || m.paused[group] }

func parseRedisMeta(reply any) (redisMeta, error) {
	m := redisMeta{version: "0", paused: map[string]bool{}}
	if e, ok := reply.(RedisError); ok {
		return m, redisError(e, false)
	}
	r := newRedisReply(reply)
	for r.more() {
		field, value := r.text(), r.text()
		switch kind, name, _ := strings.Cut(field, ":"); kind {
		case "v":
			m.version = value
		case "g":
			m.groups = append(m.groups, name)
		case "pause":
			m.paused[name] = true
		}
	}
	slices.Sort(m.groups)
	return m, r.err
}
