package fanfare

import (
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// A process that knew the groups of a topic before there was another one reaches
// that group's copies too.
func TestRedisStaleGroups(t *testing.T) {
	url := testsvc.Redis(t).URL
	for name, act := range map[string]func(c *redisCase) bool{
		"cancel": func(c *redisCase) bool {
			ok, err := c.Cancel(c.Context(), c.q.Topic, "a")
			return ok && err == nil && len(c.claim(10)) == 0
		},
		"reschedule": func(c *redisCase) bool {
			ok, err := c.Reschedule(c.Context(), c.q.Topic, "a", time.Now().Add(time.Hour))
			return ok && err == nil && len(c.claim(10)) == 0
		},
		"push": func(c *redisCase) bool { c.push(message("b")); return len(c.claim(10)) == 2 },
		"push anew": func(c *redisCase) bool {
			c.push(driver.Message{ID: "b", Conflict: driver.Replace})
			return len(c.claim(10)) == 2
		},
		"push back": func(c *redisCase) bool {
			c.push(driver.Message{ID: "a", Delay: time.Hour, Conflict: driver.PushBack})
			return len(c.claim(10)) == 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCase(t, url)
			for _, q := range []driver.Queue{{Topic: c.q.Topic, Group: "old"}, {Topic: c.q.Topic, Group: "other"}} {
				if err := c.Subscribe(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
			c.push(message("before")) // fills the cache
			other := newRedisBroker(c.client, redisOptions{prefix: c.prefix})
			c.q.Group = "new"
			if err := other.Subscribe(t.Context(), c.q); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Push(t.Context(), c.q.Topic, []driver.Message{message("a")}); err != nil {
				t.Fatal(err)
			}
			if !act(c) {
				t.Error("it did not reach the group that is new")
			}
		})
	}
}
