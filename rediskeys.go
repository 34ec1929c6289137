package fanfare

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// The keys of a topic share a hash tag, so that a cluster keeps them in one
// slot. With the encoded topic T and group G they are
//
//	<prefix>:topics     hash: topic to version of the layout, for all topics
//	<prefix>:{T}:meta   hash: groups, version of their list, pauses
//	<prefix>:{T}:G:x    what redisKeys names
//
// None expires.

// redisLayout is the version of the layout that this package reads and writes.
const redisLayout = "1"

// redisMaxInstant is the latest instant that scripts are given: the end of the
// year 9999, in microseconds. From 2255 on instants are not exact.
const redisMaxInstant = 253402300799999999

// redisKeys are the keys of one queue.
type redisKeys struct {
	lanes      [3]string // zset: waiting id by due time (us); high, normal, low
	leases     string    // zset: running id by the end of its lease (us)
	bodies     string    // hash: id to body
	states     string    // hash: id to "fence:nonce:attempts:failures:lane:due", once it was claimed
	errors     string    // hash: id to the text of the latest failure
	kept       string    // hash: id to "lane:due:body" that waits for the running one to end
	known      string    // zset: ended id by the time until which it is known (us)
	wake       string    // list: at most one token, which wakes a consumer that waits
	consumers  string    // zset: consumer by the time until which it counts (us)
	dead       string    // zset: dead id by the time when it was buried (us)
	deadBodies string    // hash: dead id to body
	deadInfo   string    // hash: dead id to its counters, lane, fence, reason and error
}

func newRedisKeys(prefix string, q driver.Queue) *redisKeys {
	base := prefix + ":{" + encodeRedisName(q.Topic) + "}:" + encodeRedisName(q.Group) + ":"
	return &redisKeys{
		lanes:      [3]string{base + "0", base + "1", base + "2"},
		leases:     base + "l",
		bodies:     base + "p",
		states:     base + "s",
		errors:     base + "e",
		kept:       base + "n",
		known:      base + "u",
		wake:       base + "w",
		consumers:  base + "c",
		dead:       base + "d",
		deadBodies: base + "db",
		deadInfo:   base + "di",
	}
}

func redisMetaKey(prefix, topic string) string {
	return prefix + ":{" + encodeRedisName(topic) + "}:meta"
}

func redisTopicsKey(prefix string) string { return prefix + ":topics" }

// encodeRedisName percent-encodes every byte but letters, digits and "_.-".
// Different names have different encodings.
func encodeRedisName(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isRedisNameByte(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func isRedisNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '.' || c == '-'
}

// checkRedisPrefix returns an error that matches driver.ErrInvalid unless the
// prefix is 1 to 64 letters, digits and "_.-:".
func checkRedisPrefix(prefix string) error {
	if prefix == "" || len(prefix) > 64 {
		return fmt.Errorf("prefix of %d bytes, want 1 to 64: %w", len(prefix), driver.ErrInvalid)
	}
	for i := range len(prefix) {
		if c := prefix[i]; !isRedisNameByte(c) && c != ':' {
			return fmt.Errorf("prefix %q has a byte that is not a letter, a digit or in \"_.-:\": %w", prefix, driver.ErrInvalid)
		}
	}
	return nil
}

// redisLane is the number of the lane for a priority.
func redisLane(p driver.Priority) int { return int(driver.High - p) }

func redisPriority(lane int64) driver.Priority {
	if lane < 0 || lane > 2 {
		return driver.Normal
	}
	return driver.High - driver.Priority(lane)
}

// redisMicros is d in microseconds, rounded up, and 0 if d is negative.
func redisMicros(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	us := d.Microseconds()
	if d%time.Microsecond > 0 {
		us++
	}
	return us
}

// redisInstant is t in microseconds since 1970, rounded up, and 0 for the zero time.
func redisInstant(t time.Time) int64 {
	switch {
	case t.IsZero() || t.Unix() < 0:
		return 0
	case t.Unix() >= redisMaxInstant/1_000_000:
		return redisMaxInstant
	}
	us := t.UnixMicro()
	if t.Nanosecond()%int(time.Microsecond) > 0 {
		us++
	}
	return us
}

// redisDuration is a number of microseconds as a duration.
func redisDuration(us int64) time.Duration {
	if us > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(us) * time.Microsecond
}

// The lists of keys that scripts take, in the order in which each describes them.

func (k *redisKeys) forPush() []string {
	return []string{k.bodies, k.known, k.wake, k.lanes[0], k.lanes[1], k.lanes[2]}
}

func (k *redisKeys) forID() []string { return []string{k.bodies, k.known} }

func (k *redisKeys) forUpdate() []string {
	return append(k.forPush(), k.leases, k.states, k.kept)
}

func (k *redisKeys) forClaim(meta string) []string {
	return []string{
		meta, k.lanes[0], k.lanes[1], k.lanes[2], k.leases, k.bodies, k.states, k.errors,
		k.kept, k.known, k.wake, k.consumers,
	}
}

func (k *redisKeys) forExtend() []string {
	return []string{k.leases, k.states, k.lanes[0], k.lanes[1], k.lanes[2], k.consumers}
}

func (k *redisKeys) forSettle() []string {
	return []string{
		k.lanes[0], k.lanes[1], k.lanes[2], k.leases, k.bodies, k.states, k.errors,
		k.kept, k.known, k.wake, k.dead, k.deadBodies, k.deadInfo,
	}
}

func (k *redisKeys) forCancel() []string {
	return []string{
		k.lanes[0], k.lanes[1], k.lanes[2], k.leases, k.known, k.bodies, k.states, k.errors, k.kept,
	}
}

func (k *redisKeys) forReschedule() []string {
	return []string{k.lanes[0], k.lanes[1], k.lanes[2], k.leases, k.wake, k.bodies, k.states, k.kept}
}

func (k *redisKeys) forRequeue() []string {
	return []string{
		k.lanes[0], k.lanes[1], k.lanes[2], k.bodies, k.states, k.known, k.wake,
		k.dead, k.deadBodies, k.deadInfo,
	}
}

func (k *redisKeys) forDeleteDead() []string { return []string{k.dead, k.deadBodies, k.deadInfo} }

func (k *redisKeys) forPurge() []string {
	return []string{
		k.lanes[0], k.lanes[1], k.lanes[2], k.leases, k.bodies, k.states, k.errors, k.kept,
	}
}

func (k *redisKeys) forForget() []string {
	return []string{k.dead, k.deadBodies, k.deadInfo, k.known, k.consumers, k.wake}
}

func (k *redisKeys) forStatus() []string {
	return []string{k.lanes[0], k.lanes[1], k.lanes[2], k.leases, k.dead, k.consumers}
}

func (k *redisKeys) forList() []string {
	return []string{
		k.lanes[0], k.lanes[1], k.lanes[2], k.leases, k.bodies, k.states, k.errors,
		k.dead, k.deadBodies, k.deadInfo,
	}
}
