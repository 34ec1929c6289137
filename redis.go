package fanfare

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Limits of one script call. Lua takes less than 8,000 arguments in one call;
// some commands need two for each message.
const (
	redisBatch      = 500     // messages
	redisBatchBytes = 8 << 20 // of bodies
	redisPage       = 200     // records of a list
)

// What redisOptions has where its fields are zero.
const (
	redisDefaultPrefix = "fanfare"
	redisDefaultWindow = time.Minute
	redisDefaultBody   = 1 << 20
)

// A consumer counts for redisCounts, or a lease if that is longer, after it was
// noted, and is noted again after redisNote.
const (
	redisCounts = 10 * time.Second
	redisNote   = 3 * time.Second
)

// redisLongestWait bounds one Wait. Nobody minds if a hint comes too early.
const redisLongestWait = time.Hour

// redisMaxText is the greatest length of the text of a failure, in bytes.
const redisMaxText = 4 << 10

// redisCycle is the number of turns after which the priorities repeat.
const redisCycle = 10

// redisOptions changes what newRedisBroker makes.
type redisOptions struct {
	prefix  string        // of all keys; checkRedisPrefix says what is valid
	window  time.Duration // for which ids that ended stay known
	maxBody int           // greatest body in bytes

	replicas int           // that have a message before it is accepted; 0: none is waited for
	patience time.Duration // for them
}

// redisBroker keeps messages on a Redis server of version 6.2 or later. Each
// group of a topic is a queue of its own, with its own copies. All that changes
// one is a script, and so one atomic step, which the server's clock times.
type redisBroker struct {
	client   RedisClient
	prefix   string
	window   int64 // us
	maxBody  int   // bytes
	replicas int
	patience time.Duration
	nonce    string // makes tokens differ from those of every other broker

	mu     sync.Mutex // guards the maps and what they hold
	topics map[string]*redisTopic
	queues map[driver.Queue]*redisQueue
}

// redisQueue is what a broker remembers of a queue.
type redisQueue struct {
	keys       *redisKeys
	turn       int                  // position in the cycle of priorities
	noted      map[string]time.Time // when each consumer was noted
	subscribed bool                 // by this broker
	due        time.Time            // when more is claimable, as the latest claim knew; zero if it knew of nothing
}

var (
	_ driver.Broker      = (*redisBroker)(nil)
	_ driver.Canceler    = (*redisBroker)(nil)
	_ driver.Inspector   = (*redisBroker)(nil)
	_ driver.DeadLetters = (*redisBroker)(nil)
	_ driver.Purger      = (*redisBroker)(nil)
	_ driver.Pauser      = (*redisBroker)(nil)
	_ driver.Assessor    = (*redisBroker)(nil)
)

// newRedisBroker returns a broker that runs its commands on c, which stays the
// caller's to close.
func newRedisBroker(c RedisClient, o redisOptions) *redisBroker {
	b := &redisBroker{
		client:   c,
		prefix:   o.prefix,
		window:   redisMicros(o.window),
		maxBody:  o.maxBody,
		replicas: o.replicas,
		patience: o.patience,
		topics:   map[string]*redisTopic{},
		queues:   map[driver.Queue]*redisQueue{},
	}
	if b.prefix == "" {
		b.prefix = redisDefaultPrefix
	}
	if b.window == 0 {
		b.window = redisMicros(redisDefaultWindow)
	}
	if b.maxBody <= 0 {
		b.maxBody = redisDefaultBody
	}
	// Long enough that a state has more than 64 bytes: while all values of a hash
	// are shorter, Redis keeps up to 128 fields as a list, which is slow to search.
	nonce := make([]byte, 14)
	_, _ = rand.Read(nonce) // it never fails
	b.nonce = hex.EncodeToString(nonce)
	return b
}

// Capabilities reports that everything is honoured, to the microsecond.
func (b *redisBroker) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Durable:    true,
		Delay:      time.Microsecond,
		UniqueID:   true,
		Conflict:   true,
		Priority:   true,
		Groups:     true,
		AtMostOnce: true,
		MaxBody:    b.maxBody,
	}
}

// Close does nothing: the client is its owner's to close.
func (b *redisBroker) Close() error { return nil }

// Claim leases due messages of q, up to r.Limit or 500, or as many as have
// together 1 MiB, but at least one.
func (b *redisBroker) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	if err := checkRedisClaim(q, r); err != nil {
		return driver.Claim{}, err
	}
	keys, turn, consumer := b.consume(q, r.Consumer)
	script, span := leaseScript, redisMicros(r.Lease)
	if r.AtMostOnce {
		script, span = endScript, b.window
	}
	reply, err := b.run(ctx, script, keys.forClaim(redisMetaKey(b.prefix, q.Topic)),
		q.Group, min(r.Limit, redisBatch), turn, b.nonce, span, consumer, redisAlive(r.Lease))
	if err != nil {
		return driver.Claim{}, err
	}
	c, known, err := parseRedisClaim(reply)
	if err != nil {
		return driver.Claim{}, err
	}
	if b.advance(q, len(c.Deliveries), c.Next) && !known {
		b.subscribeAgain(ctx, q)
	}
	return c, nil
}

func checkRedisClaim(q driver.Queue, r driver.ClaimRequest) error {
	switch {
	case r.Limit < 1:
		return fmt.Errorf("redis: claim of %d messages: %w", r.Limit, driver.ErrInvalid)
	case r.Lease <= 0:
		return fmt.Errorf("redis: lease of %v: %w", r.Lease, driver.ErrInvalid)
	}
	return checkRedisQueue(q)
}

func checkRedisQueue(q driver.Queue) error {
	if err := driver.CheckName("topic", q.Topic); err != nil {
		return err
	}
	return driver.CheckName("group", q.Group)
}

// parseRedisClaim also reports whether the server knows of the group.
func parseRedisClaim(reply any) (driver.Claim, bool, error) {
	r := newRedisReply(reply)
	c := driver.Claim{Now: time.UnixMicro(r.int())}
	if next := r.int(); next < 0 {
		c.Next = -1
	} else {
		c.Next = redisDuration(next)
	}
	known := r.int() == 1
	for r.more() {
		id, token, body := r.text(), r.text(), r.bytes()
		s := parseRedisState(token)
		c.Deliveries = append(c.Deliveries, driver.Delivery{
			Receipt:  driver.Receipt{ID: id, Token: token, Fence: s.fence},
			Body:     body,
			Priority: redisPriority(s.lane),
			Due:      time.UnixMicro(s.due),
			Attempt:  int(s.attempts),
			Failures: int(s.failures),
		})
	}
	return c, known, r.err
}

// Extend sets leases to end one lease from now.
func (b *redisBroker) Extend(ctx context.Context, q driver.Queue, consumer string, lease time.Duration, held []driver.Receipt) ([]bool, error) {
	if err := checkRedisQueue(q); err != nil {
		return nil, err
	}
	if lease <= 0 {
		return nil, fmt.Errorf("redis: lease of %v: %w", lease, driver.ErrInvalid)
	}
	lost := make([]bool, 0, len(held))
	for len(held) > 0 {
		n := min(len(held), redisBatch)
		keys, _, note := b.consume(q, consumer)
		args := []any{redisMicros(lease), note, redisAlive(lease)}
		for _, h := range held[:n] {
			args = append(args, h.ID, h.Token)
		}
		reply, err := b.run(ctx, extendScript, keys.forExtend(), args...)
		if err != nil {
			return nil, err
		}
		still, err := redisInts(reply, n)
		if err != nil {
			return nil, err
		}
		for _, s := range still {
			lost = append(lost, s == 0)
		}
		held = held[n:]
	}
	return lost, nil
}

// queue returns what the broker remembers of q. Its keys may be read without the
// lock, as they do not change.
func (b *redisBroker) queue(q driver.Queue) *redisQueue {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queueLocked(q)
}

func (b *redisBroker) queueLocked(q driver.Queue) *redisQueue {
	known := b.queues[q]
	if known == nil {
		if len(b.queues) >= redisRemember {
			clear(b.queues)
		}
		known = &redisQueue{keys: newRedisKeys(b.prefix, q), noted: map[string]time.Time{}}
		b.queues[q] = known
	}
	return known
}

// consume returns the keys of q, whose turn it is there, and the consumer if it
// is time to note it, or "".
func (b *redisBroker) consume(q driver.Queue, consumer string) (keys *redisKeys, turn int, note string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.queueLocked(q)
	if consumer != "" && time.Since(known.noted[consumer]) >= redisNote {
		if len(known.noted) >= redisRemember {
			clear(known.noted)
		}
		known.noted[consumer] = time.Now()
		note = consumer
	}
	return known.keys, known.turn, note
}

// advance moves the turn in q by n messages, and reports whether this broker has
// subscribed to q.
func (b *redisBroker) advance(q driver.Queue, n int, next time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.queueLocked(q)
	known.turn = (known.turn + n) % redisCycle
	known.due = time.Time{}
	if next >= 0 {
		known.due = time.Now().Add(next)
	}
	return known.subscribed
}

// redisAlive is for how long a consumer with such leases counts, in us.
func redisAlive(lease time.Duration) int64 { return redisMicros(max(lease, redisCounts)) }
