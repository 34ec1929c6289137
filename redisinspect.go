package fanfare

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// redisStatusPage is how many queues are counted in one round trip.
const redisStatusPage = 64

// Get returns one copy of a message: the living one, or the dead one.
func (b *redisBroker) Get(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
	if err := checkRedisQueue(q); err != nil {
		return driver.Record{}, err
	}
	if err := driver.CheckName("id", id); err != nil {
		return driver.Record{}, err
	}
	reply, err := b.run(ctx, getScript, b.queue(q).keys.forList(), id)
	if err != nil {
		return driver.Record{}, err
	}
	_, records, err := parseRedisRecords(q, reply)
	if err != nil {
		return driver.Record{}, err
	}
	if len(records) == 0 {
		return driver.Record{}, fmt.Errorf("redis: get %q: %w", id, driver.ErrNotFound)
	}
	return records[0], nil
}

// List returns up to limit records from the given offset, in pages of up to 200
// that are each read in one step.
func (b *redisBroker) List(ctx context.Context, q driver.Queue, s driver.State, offset, limit int) ([]driver.Record, error) {
	if err := checkRedisQueue(q); err != nil {
		return nil, err
	}
	if !slices.Contains([]driver.State{driver.Waiting, driver.Ready, driver.Delayed, driver.Running, driver.Dead}, s) {
		return nil, fmt.Errorf("redis: list state %q: %w", s, driver.ErrInvalid)
	}
	var records []driver.Record
	for len(records) < limit {
		n := min(redisPage, limit-len(records))
		reply, err := b.run(ctx, listScript, b.queue(q).keys.forList(), string(s), offset, n)
		if err != nil {
			return nil, err
		}
		from, page, err := parseRedisRecords(q, reply)
		if err != nil {
			return nil, err
		}
		records = append(records, page...)
		if len(page) < n {
			break
		}
		offset = from + len(page)
	}
	return records, nil
}

// parseRedisRecords reads the reply of list.lua and get.lua.
func parseRedisRecords(q driver.Queue, reply any) (offset int, records []driver.Record, err error) {
	r := newRedisReply(reply)
	offset = int(r.int())
	for r.more() {
		c := driver.Record{Queue: q, State: driver.State(r.text()), ID: r.text()}
		lane, us, info := r.int(), r.int(), r.text()
		c.Time, c.LastError, c.Body = time.UnixMicro(us), r.text(), r.bytes()
		if c.State == driver.Dead {
			readRedisDead(&c, info)
		} else if info != "" {
			state := parseRedisState(info)
			c.Attempts, c.Failures = int(state.attempts), int(state.failures)
			if c.State == driver.Running {
				lane = state.lane
			}
			c.Priority = redisPriority(lane)
		} else {
			c.Priority = redisPriority(lane)
		}
		records = append(records, c)
	}
	return offset, records, r.err
}

// readRedisDead reads what is known of a dead message:
// "attempts:failures:lane:fence:n:", n bytes of reason, and the error.
func readRedisDead(c *driver.Record, info string) {
	f := strings.SplitN(info, ":", 6)
	if len(f) != 6 {
		return
	}
	c.Attempts, _ = strconv.Atoi(f[0])
	c.Failures, _ = strconv.Atoi(f[1])
	lane, err := strconv.ParseInt(f[2], 10, 8)
	if err == nil {
		c.Priority = redisPriority(lane)
	}
	n, _ := strconv.Atoi(f[4])
	n = min(max(n, 0), len(f[5]))
	c.Reason, c.LastError = f[5][:n], f[5][n:]
}

// Status counts the queues of the given topics, or of all.
func (b *redisBroker) Status(ctx context.Context, topics ...string) ([]driver.Status, error) {
	for _, t := range topics {
		if err := driver.CheckName("topic", t); err != nil {
			return nil, err
		}
	}
	if len(topics) == 0 {
		var err error
		if topics, err = b.allTopics(ctx); err != nil {
			return nil, err
		}
	}
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	all, fallback, err := b.statusQueues(ctx, topics)
	if err != nil {
		return nil, err
	}
	for page := range slices.Chunk(all, redisStatusPage) {
		if err := b.count(ctx, page); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(s driver.Status) bool {
		return fallback[s.Queue] && s.Ready+s.Delayed+s.Running+s.Dead == 0
	}), nil
}

func (b *redisBroker) allTopics(ctx context.Context) ([]string, error) {
	reply, err := b.client.Do(ctx, "HKEYS", redisTopicsKey(b.prefix))
	if err != nil {
		return nil, redisError(err, false)
	}
	r := newRedisReply(reply)
	var topics []string
	for r.more() {
		topics = append(topics, r.text())
	}
	return topics, r.err
}

// statusQueues returns the queues of the topics, not counted yet, sorted. Those
// in fallback have no group: they only show if they hold something.
func (b *redisBroker) statusQueues(ctx context.Context, topics []string) (all []driver.Status, fallback map[driver.Queue]bool, err error) {
	cmds := make([][]any, len(topics))
	for i, t := range topics {
		cmds[i] = []any{"HGETALL", redisMetaKey(b.prefix, t)}
	}
	replies, err := b.pipeline(ctx, cmds, false)
	if err != nil {
		return nil, nil, err
	}
	fallback = map[driver.Queue]bool{}
	for i, t := range topics {
		meta, err := parseRedisMeta(replies[i])
		if err != nil {
			return nil, nil, err
		}
		groups := meta.groups
		if !slices.Contains(groups, driver.DefaultGroup) {
			fallback[driver.Queue{Topic: t, Group: driver.DefaultGroup}] = len(groups) > 0
			groups = append(groups, driver.DefaultGroup)
			slices.Sort(groups)
		}
		for _, g := range groups {
			all = append(all, driver.Status{Queue: driver.Queue{Topic: t, Group: g}, Paused: meta.isPaused(g)})
		}
	}
	return all, fallback, nil
}

// count fills in the numbers of some queues.
func (b *redisBroker) count(ctx context.Context, page []driver.Status) error {
	keys := make([][]string, len(page))
	for i, s := range page {
		keys[i] = newRedisKeys(b.prefix, s.Queue).forStatus()
	}
	replies, err := b.runEach(ctx, statusScript, keys)
	if err != nil {
		return err
	}
	for i := range page {
		n, err := redisInts(replies[i], 6)
		if err != nil {
			return err
		}
		s := &page[i]
		s.Ready, s.Delayed, s.Running, s.Dead, s.Consumers = int(n[0]), int(n[1]), int(n[2]), int(n[3]), int(n[4])
		s.OldestDue = redisDuration(n[5])
	}
	return nil
}
