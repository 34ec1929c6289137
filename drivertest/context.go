package drivertest

import (
	"context"
	"errors"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var contextPromises = []promise{
	{"a method whose context is canceled returns an error at once", contextCanceled},
	{"a method whose deadline has passed returns an error at once", contextDeadline},
	{"a push that was unavailable stored nothing", contextPush},
	{"a settle that was unavailable can be repeated", contextSettle},
}

// call is one method of a broker about a queue.
type call struct {
	name    string
	grouped bool // the group matters
	whole   bool // an empty group means the topic
	do      func(ctx context.Context, q driver.Queue) error
}

// calls returns one for each method that the broker has, but for Close.
func (c *trial) calls() []call {
	b := c.b
	r := driver.Receipt{ID: "a", Token: "token"}
	calls := []call{
		{name: "Subscribe", grouped: true, do: b.Subscribe},
		{name: "Unsubscribe", grouped: true, do: b.Unsubscribe},
		{name: "Push", do: func(ctx context.Context, q driver.Queue) error {
			_, err := b.Push(ctx, q.Topic, []driver.Message{plain("called")})
			return err
		}},
		{name: "Claim", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
			_, err := b.Claim(ctx, q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
			return err
		}},
		{name: "Wait", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
			return b.Wait(ctx, q, time.Second)
		}},
		{name: "Extend", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
			_, err := b.Extend(ctx, q, "drivertest", time.Minute, []driver.Receipt{r})
			return err
		}},
		{name: "Settle", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
			_, err := b.Settle(ctx, q, []driver.Settlement{{Receipt: r}})
			return err
		}},
	}
	return append(calls, c.abilityCalls()...)
}

func (c *trial) abilityCalls() []call {
	var calls []call
	if b, ok := c.b.(driver.Canceler); ok {
		calls = append(calls,
			call{name: "Cancel", do: func(ctx context.Context, q driver.Queue) error {
				_, err := b.Cancel(ctx, q.Topic, "a")
				return err
			}},
			call{name: "Reschedule", do: func(ctx context.Context, q driver.Queue) error {
				_, err := b.Reschedule(ctx, q.Topic, "a", time.Now())
				return err
			}})
	}
	if b, ok := c.b.(driver.Inspector); ok {
		calls = append(calls,
			call{name: "Get", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
				_, err := b.Get(ctx, q, "a")
				return err
			}},
			call{name: "List", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
				_, err := b.List(ctx, q, driver.Waiting, 0, 1)
				return err
			}},
			call{name: "Status", do: func(ctx context.Context, q driver.Queue) error {
				_, err := b.Status(ctx, q.Topic)
				return err
			}})
	}
	if b, ok := c.b.(driver.DeadLetters); ok {
		calls = append(calls,
			call{name: "Requeue", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
				_, err := b.Requeue(ctx, q, "a")
				return err
			}},
			call{name: "DeleteDead", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
				_, err := b.DeleteDead(ctx, q, "a")
				return err
			}})
	}
	if b, ok := c.b.(driver.Purger); ok {
		calls = append(calls, call{name: "Purge", grouped: true, do: func(ctx context.Context, q driver.Queue) error {
			_, err := b.Purge(ctx, q)
			return err
		}})
	}
	if b, ok := c.b.(driver.Pauser); ok {
		calls = append(calls,
			call{name: "Pause", grouped: true, whole: true, do: b.Pause},
			call{name: "Resume", grouped: true, whole: true, do: b.Resume})
	}
	return calls
}

// failed requires an error of those that a method returns when its context has ended.
func (c *trial) failed(err error, what string) {
	c.Helper()
	if !errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, driver.ErrUnknownOutcome) {
		c.Errorf("%s = %v, want ErrUnavailable or ErrUnknownOutcome", what, err)
	}
}

func contextCanceled(c *trial) {
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	for _, call := range c.calls() {
		c.took(0, func() { c.failed(call.do(ctx, c.queue), call.name+" with a canceled context") })
	}
}

func contextDeadline(c *trial) {
	ctx, cancel := context.WithDeadline(c.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, call := range c.calls() {
		c.took(0, func() { c.failed(call.do(ctx, c.queue), call.name+" after the deadline") })
	}
}

func contextPush(c *trial) {
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	_, err := c.b.Push(ctx, c.queue.Topic, []driver.Message{plain("a")})
	if errors.Is(err, driver.ErrUnknownOutcome) {
		c.push(plain("a"))
	} else {
		c.drained()
		c.accept(plain("a"))
	}
	c.one("a")
	c.nothing()
}

func contextSettle(c *trial) {
	c.accept(plain("a"))
	d := c.one("a")
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	_, err := c.b.Settle(ctx, c.queue, []driver.Settlement{{Receipt: d.Receipt, Verb: driver.Retry}})
	c.failed(err, "Settle with a canceled context")
	c.end(d, driver.Retry)
	c.counted(c.one("a"), 2, 1)
}
