package drivertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// defects returns all of them.
func defects() []defect {
	return slices.Concat(pushDefects, nameDefects, groupDefects, conflictDefects,
		claimDefects, leaseDefects, settleDefects, waitDefects,
		cancelDefects, inspectDefects, deadDefects, pauseDefects, raceDefects)
}

// edit changes what a queue holds, as it was before the present instant has any effect.
func (b *broken) edit(q driver.Queue, f func(q *queue)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.topics[q.Topic]; t != nil && t.queues[q.Group] != nil {
		f(t.queues[q.Group])
	}
}

// editAll changes what all queues of a topic hold.
func (b *broken) editAll(topic string, f func(q *queue)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.topics[topic]; t != nil {
		for _, q := range t.queues {
			f(q)
		}
	}
}

// pushing breaks a broker by changing each message before it is pushed.
func pushing(change func(msg *driver.Message)) func(b *broken) {
	return func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			msgs = slices.Clone(msgs)
			for i := range msgs {
				change(&msgs[i])
			}
			return b.Memory.Push(ctx, topic, msgs)
		}
	}
}

// pushed breaks a broker by what it does after each push.
func pushed(change func(b *broken, topic string, msgs []driver.Message, outcomes []error)) func(b *broken) {
	return func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			outcomes, err := b.Memory.Push(ctx, topic, msgs)
			if err == nil {
				change(b, topic, msgs, outcomes)
			}
			return outcomes, err
		}
	}
}

var pushDefects = []defect{
	{"push keeps the buffer of the caller", "bytes/a caller may reuse the buffer of a body",
		pushed(func(b *broken, topic string, msgs []driver.Message, _ []error) {
			b.editAll(topic, func(q *queue) {
				for _, msg := range msgs {
					if m := q.live[msg.ID]; m != nil {
						m.body = msg.Body
					}
				}
			})
		})},
	{"push truncates bodies", "bytes/bodies come back as they were", pushing(func(msg *driver.Message) {
		msg.Body = msg.Body[:min(len(msg.Body), 65536)]
	})},
	{"push ends bodies at NUL", "bytes/bodies come back as they were", pushing(func(msg *driver.Message) {
		body, _, _ := strings.Cut(string(msg.Body), "\x00")
		msg.Body = []byte(body)
	})},
	{"push says nothing about duplicates", "unique/the id of a ready message is a duplicate",
		pushed(func(_ *broken, _ string, _ []driver.Message, outcomes []error) {
			for i := range outcomes {
				if errors.Is(outcomes[i], driver.ErrDuplicate) {
					outcomes[i] = nil
				}
			}
		})},
	{"push has one outcome for a batch", "push/each message has its own outcome", func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			outcomes, err := b.Memory.Push(ctx, topic, msgs)
			return outcomes[:min(len(outcomes), 1)], err
		}
	}},
	{"push refuses a batch for one message", "push/each message has its own outcome", func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			for _, msg := range msgs {
				if err := checkMessage(msg); err != nil {
					return nil, err
				}
			}
			return b.Memory.Push(ctx, topic, msgs)
		}
	}},
	{"push ignores the delay beside an instant", "delay/of delay and instant the later counts", pushing(func(msg *driver.Message) {
		if !msg.At.IsZero() {
			msg.Delay = 0
		}
	})},
	{"push ignores instants", "delay/a message is not claimed before its instant", pushing(func(msg *driver.Message) {
		msg.At = time.Time{}
	})},
	{"push adds delay and instant", "delay/of delay and instant the later counts", pushing(func(msg *driver.Message) {
		if !msg.At.IsZero() {
			msg.At, msg.Delay = msg.At.Add(msg.Delay), 0
		}
	})},
	{"push rounds delays down", "delay/a delay is kept to the resolution", pushing(func(msg *driver.Message) {
		msg.Delay = msg.Delay.Truncate(time.Millisecond)
	})},
	{"push rounds to seconds", "delay/a delay is kept to the resolution", pushing(func(msg *driver.Message) {
		msg.Delay = msg.Delay.Truncate(time.Second) + time.Second
	})},
	{"push lets an instant in the past overtake", "push/an instant in the past means now",
		pushed(func(b *broken, topic string, msgs []driver.Message, _ []error) {
			b.editAll(topic, func(q *queue) {
				for _, msg := range msgs {
					if m := q.live[msg.ID]; m != nil && !msg.At.IsZero() && m.waits() {
						m.due = msg.At
						q.place(m, driver.Ready, m.due)
					}
				}
			})
		})},
	{"push ignores the context", "context/a method whose context is canceled returns an error at once", func(b *broken) {
		b.onPush = func(_ context.Context, topic string, msgs []driver.Message) ([]error, error) {
			return b.Memory.Push(context.Background(), topic, msgs)
		}
	}},
	{"push stores though it was canceled", "context/a push that was unavailable stored nothing", func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			outcomes, err := b.Memory.Push(context.WithoutCancel(ctx), topic, msgs)
			if ctx.Err() != nil {
				return nil, driver.ErrUnavailable
			}
			return outcomes, err
		}
	}},
	{"the window never ends", "window/the id of an acked message is known for the window and free after it",
		func(b *broken) { b.window = long }},
	{"the window is short", "window/the id of a buried message is known for the window and free after it",
		func(b *broken) { b.window /= 2 }},
	{"there is no window", "unique/the id of an acked message is a duplicate in the window",
		func(b *broken) { b.window = 0 }},
	{"an id is forgotten when the window has passed since the push", "window/the id of a running message stays known beyond the window",
		func(b *broken) {
			b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
				b.editAll(topic, func(q *queue) {
					for _, msg := range msgs {
						if m := q.live[msg.ID]; m != nil && time.Since(m.due) > b.window {
							q.drop(m)
						}
					}
				})
				return b.Memory.Push(ctx, topic, msgs)
			}
		}},
	{"ids are unique over all topics", "unique/another topic may use the id", func(b *broken) {
		owner := map[string]string{}
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			outcomes, err := b.Memory.Push(ctx, topic, msgs)
			for i, msg := range msgs {
				if owner[msg.ID] == "" {
					owner[msg.ID] = topic
				}
				if owner[msg.ID] != topic {
					outcomes[i] = driver.ErrDuplicate
				}
			}
			return outcomes, err
		}
	}},
}

var nameDefects = []defect{
	{"ids are cut", "name/a name that is empty or too long or not UTF-8 is invalid", pushing(func(msg *driver.Message) {
		msg.ID = msg.ID[:min(len(msg.ID), driver.MaxName)]
	})},
	{"spaces around ids do not matter", "name/ids are kept apart whatever is in them", pushing(func(msg *driver.Message) {
		if id := strings.Trim(msg.ID, " "); id != "" {
			msg.ID = id
		}
	})},
	{"case does not matter in topics", "name/topics are kept apart whatever is in them", renaming(func(q driver.Queue) driver.Queue {
		q.Topic = strings.ToLower(q.Topic)
		return q
	})},
	{"braces do not matter in topics", "name/topic and group are not joined", renaming(func(q driver.Queue) driver.Queue {
		q.Topic = strings.NewReplacer("{", "", "}", "").Replace(q.Topic)
		return q
	})},
	{"newlines do not matter in groups", "name/groups are kept apart whatever is in them", renaming(func(q driver.Queue) driver.Queue {
		q.Group = strings.ReplaceAll(q.Group, "\n", " ")
		return q
	})},
}

// renaming breaks a broker by giving queues the names of others.
func renaming(name func(q driver.Queue) driver.Queue) func(b *broken) {
	return func(b *broken) {
		b.onSubscribe = func(ctx context.Context, q driver.Queue) error { return b.Memory.Subscribe(ctx, name(q)) }
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			return b.Memory.Push(ctx, name(driver.Queue{Topic: topic}).Topic, msgs)
		}
		b.onClaim = func(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
			return b.Memory.Claim(ctx, name(q), r)
		}
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			return b.Memory.Settle(ctx, name(q), s)
		}
	}
}
