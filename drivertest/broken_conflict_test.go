package drivertest

import (
	"context"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var conflictDefects = []defect{
	{"replace keeps the first", "conflict/replace gives a waiting message the new body", pushing(func(msg *driver.Message) {
		if msg.Conflict == driver.Replace {
			msg.Conflict = driver.KeepFirst
		}
	})},
	{"replace only pushes back", "conflict/replace gives a waiting message the new body", pushing(func(msg *driver.Message) {
		if msg.Conflict == driver.Replace {
			msg.Conflict = driver.PushBack
		}
	})},
	{"replace changes what runs", "conflict/replace of a running message is a duplicate",
		pushed(func(b *broken, topic string, msgs []driver.Message, outcomes []error) {
			b.editAll(topic, func(q *queue) {
				for i, msg := range msgs {
					if m := q.live[msg.ID]; m != nil && msg.Conflict == driver.Replace && outcomes[i] != nil {
						m.body, outcomes[i] = msg.Body, nil
					}
				}
			})
		})},
	{"replace keeps the due time", "conflict/replace gives a waiting message the new due time",
		pushed(func(b *broken, topic string, msgs []driver.Message, _ []error) {
			b.editAll(topic, func(q *queue) {
				for _, msg := range msgs {
					if m := q.live[msg.ID]; m != nil && msg.Conflict == driver.Replace {
						q.postpone(m, time.Now().Add(long), time.Now())
					}
				}
			})
		})},
	{"the window refuses all conflict modes", "conflict/replace in the window is a push",
		func(b *broken) {
			b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
				msgs = slices.Clone(msgs)
				b.editAll(topic, func(q *queue) {
					for i := range msgs {
						if q.live[msgs[i].ID] == nil {
							msgs[i].Conflict = driver.KeepFirst
						}
					}
				})
				return b.Memory.Push(ctx, topic, msgs)
			}
		}},
	{"push back replaces", "conflict/push back gives a waiting message the new due time alone", pushing(func(msg *driver.Message) {
		if msg.Conflict == driver.PushBack {
			msg.Conflict = driver.Replace
		}
	})},
	{"run again keeps the first", "again/run again waits from when the running one is acked", pushing(func(msg *driver.Message) {
		if msg.Conflict == driver.RunAgain {
			msg.Conflict = driver.KeepFirst
		}
	})},
	{"run again keeps the latest", "again/at most one is kept to run again", func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			for _, msg := range msgs {
				b.editAll(topic, func(q *queue) {
					if m := q.live[msg.ID]; m != nil && msg.Conflict == driver.RunAgain {
						m.successor = nil
					}
				})
			}
			return b.Memory.Push(ctx, topic, msgs)
		}
	}},
	{"run again is lost at a retry", "again/run again stays beside a message that is retried", withoutSuccessor(driver.Retry)},
	{"run again is lost at a bury", "again/run again waits from when the running one is buried", withoutSuccessor(driver.Bury)},
	{"cancel leaves what is to run again", "again/cancel removes what is kept to run again", func(b *broken) {
		b.onCancel = func(ctx context.Context, topic, id string) (bool, error) {
			var kept *message
			b.editAll(topic, func(q *queue) {
				if m := q.live[id]; m != nil {
					kept = m.successor
				}
			})
			ok, err := b.Memory.Cancel(ctx, topic, id)
			b.editAll(topic, func(q *queue) {
				if m := q.live[id]; m != nil {
					m.successor = kept
				}
			})
			return ok, err
		}
	}},
	{"what replaces an expired claim is acked by its holder", "conflict/what replaced an expired claim is not acked by its holder",
		func(b *broken) {
			b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
				token := map[*message]string{}
				b.editAll(topic, func(q *queue) {
					for _, m := range q.live {
						token[m] = m.token
					}
				})
				outcomes, err := b.Memory.Push(ctx, topic, msgs)
				b.editAll(topic, func(q *queue) {
					for _, m := range q.live {
						m.token = token[m]
					}
				})
				return outcomes, err
			}
		}},
}

// withoutSuccessor breaks a broker by dropping what is to run again at a verb.
func withoutSuccessor(v driver.Verb) func(b *broken) {
	return settling(func(b *broken, q *queue, s *driver.Settlement) {
		if m := q.live[s.ID]; m != nil && s.Verb == v {
			m.successor = nil
		}
	})
}
