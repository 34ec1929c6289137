package fanfare

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// A call that acts on several groups finds a foreign key of any of them before it
// has changed one of the others.
func TestRedisRefusesForeignKeysOfAnotherGroup(t *testing.T) {
	url := testsvc.Redis(t).URL
	groups := []string{"one", "two"}
	for _, foreign := range groups {
		for n := range keysIn(newCase(t, url).keys()) {
			for what, call := range callsOnGroups {
				c := newCase(t, url)
				for _, g := range groups {
					c.q.Group = g
					if err := c.Subscribe(t.Context(), c.q); err != nil {
						t.Fatal(err)
					}
				}
				c.push(driver.Message{ID: "waits", Priority: driver.High}, message("later"))
				for _, g := range groups {
					c.q.Group = g
					c.claim(1)
					c.push(driver.Message{ID: "waits", Conflict: driver.RunAgain})
				}
				if err := c.Pause(t.Context(), driver.Queue{Topic: c.q.Topic}); err != nil {
					t.Fatal(err)
				}
				c.q.Group = foreign
				key := keysIn(c.keys())[n]
				c.do("DEL", key)
				c.do("SET", key, "foreign")
				before := c.dump()
				err := call(t.Context(), c)
				if refused := RedisError(""); errors.As(err, &refused) && c.dump() != before {
					t.Errorf("%s with a foreign %s: %v, and something changed", what, key[strings.LastIndex(key, "{"):], err)
				}
			}
		}
	}
}

var callsOnGroups = map[string]func(ctx context.Context, c *redisCase) error{
	"push":         func(ctx context.Context, c *redisCase) error { return pushOne(ctx, c, "new", driver.KeepFirst) },
	"push anew":    func(ctx context.Context, c *redisCase) error { return pushOne(ctx, c, "new", driver.Replace) },
	"replace":      func(ctx context.Context, c *redisCase) error { return pushOne(ctx, c, "later", driver.Replace) },
	"push back":    func(ctx context.Context, c *redisCase) error { return pushOne(ctx, c, "later", driver.PushBack) },
	"run again":    func(ctx context.Context, c *redisCase) error { return pushOne(ctx, c, "waits", driver.RunAgain) },
	"cancel":       func(ctx context.Context, c *redisCase) error { _, err := c.Cancel(ctx, c.q.Topic, "later"); return err },
	"cancel again": func(ctx context.Context, c *redisCase) error { _, err := c.Cancel(ctx, c.q.Topic, "waits"); return err },
	"reschedule": func(ctx context.Context, c *redisCase) error {
		_, err := c.Reschedule(ctx, c.q.Topic, "later", time.Unix(1, 0))
		return err
	},
	"reschedule again": func(ctx context.Context, c *redisCase) error {
		_, err := c.Reschedule(ctx, c.q.Topic, "waits", time.Unix(1, 0))
		return err
	},
	"resume": func(ctx context.Context, c *redisCase) error {
		return c.Resume(ctx, driver.Queue{Topic: c.q.Topic})
	},
}

func pushOne(ctx context.Context, c *redisCase, id string, how driver.Conflict) error {
	_, err := c.Push(ctx, c.q.Topic, []driver.Message{{ID: id, Conflict: how, Delay: time.Millisecond}})
	return err
}
