package fanfare

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"
)

// clockedClient is a RedisClient on which scripts take the time from a hash of the
// server instead of its clock, so that a test can turn it.
type clockedClient struct {
	RedisClient
	prefix string // of the broker's keys

	mu  sync.Mutex
	now time.Time
	sha map[string]string // of what runs in the place of a script, by that one's
}

func newClockedClient(t testing.TB, c RedisClient, prefix string) *clockedClient {
	t.Helper()
	clocked := &clockedClient{RedisClient: c, prefix: prefix, now: time.Unix(1_700_000_000, 0), sha: map[string]string{}}
	clocked.Advance(0)
	return clocked
}

// Now returns the time of the scripts.
func (c *clockedClient) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance turns the clock of the scripts.
func (c *clockedClient) Advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	now := c.now
	c.mu.Unlock()
	_, err := c.RedisClient.Do(context.Background(), "HSET", c.prefix+":clock", "s", now.Unix(), "us", now.Nanosecond()/1000)
	if err != nil {
		panic(err) // a test without its server
	}
}

// Do runs a script as it would be with the clock that can be turned.
func (c *clockedClient) Do(ctx context.Context, args ...any) (any, error) {
	return c.RedisClient.Do(ctx, c.turned(args)...)
}

func (c *clockedClient) Pipeline(ctx context.Context, cmds [][]any) ([]any, error) {
	turned := make([][]any, len(cmds))
	for i, cmd := range cmds {
		turned[i] = c.turned(cmd)
	}
	return c.RedisClient.Pipeline(ctx, turned)
}

func (c *clockedClient) turned(cmd []any) []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch cmd[0] {
	case "EVAL":
		source := cmd[1].(string)
		turned := strings.ReplaceAll(source, "redis.call('TIME')",
			"redis.call('HMGET', string.match(KEYS[1], '^(.-):{') .. ':clock', 's', 'us')")
		c.sha[shaOf(source)] = shaOf(turned)
		return append([]any{"EVAL", turned}, cmd[2:]...)
	case "EVALSHA":
		sha := c.sha[cmd[1].(string)]
		if sha == "" {
			sha = strings.Repeat("0", 40) // so that the script comes
		}
		return append([]any{"EVALSHA", sha}, cmd[2:]...)
	}
	return cmd
}

func shaOf(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}
