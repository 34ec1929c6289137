package drivertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var groupDefects = []defect{
	{"push copies to one group", "group/each group has its own copy",
		pushed(func(b *broken, topic string, msgs []driver.Message, _ []error) {
			for _, msg := range msgs {
				copies := 0
				b.editAll(topic, func(q *queue) {
					if m := q.live[msg.ID]; m != nil {
						if copies++; copies > 1 {
							q.drop(m)
						}
					}
				})
			}
		})},
	{"groups share their copies", "group/what one group does leaves the others alone", func(b *broken) {
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			outcomes, err := b.Memory.Settle(ctx, q, s)
			b.editAll(q.Topic, func(q *queue) {
				for _, one := range s {
					if m := q.live[one.ID]; m != nil && one.Verb == driver.Ack {
						q.drop(m)
					}
				}
			})
			return outcomes, err
		}
	}},
	{"subscribe copies what was pushed before", "group/a group gets what is pushed after it subscribed", func(b *broken) {
		b.onSubscribe = func(ctx context.Context, q driver.Queue) error {
			var old []message
			b.editAll(q.Topic, func(q *queue) {
				for _, m := range q.live {
					old = append(old, message{id: m.id, body: m.body, due: m.due})
				}
			})
			err := b.Memory.Subscribe(ctx, q)
			b.edit(q, func(q *queue) {
				for _, m := range old {
					if q.live[m.id] == nil {
						q.insert(&m, time.Now())
					}
				}
			})
			return err
		}
	}},
	{"subscribing again empties the group", "group/subscribing again changes nothing", func(b *broken) {
		b.onSubscribe = func(ctx context.Context, q driver.Queue) error {
			return errors.Join(b.Memory.Unsubscribe(ctx, q), b.Memory.Subscribe(ctx, q))
		}
	}},
	{"unsubscribe leaves the dead", "group/unsubscribe removes everything the group holds", func(b *broken) {
		b.onUnsubscribe = func(ctx context.Context, q driver.Queue) error {
			var dead []*message
			b.edit(q, func(q *queue) { dead = slices.Clone(q.buried) })
			err := b.Memory.Unsubscribe(ctx, q)
			b.edit(q, func(q *queue) {
				for _, m := range dead {
					q.dead[m.id] = m
					q.buried.add(m)
				}
			})
			return err
		}
	}},
	{"unsubscribe only stops copies", "group/unsubscribe removes everything the group holds", func(b *broken) {
		b.onUnsubscribe = func(_ context.Context, q driver.Queue) error {
			b.edit(q, func(q *queue) { q.subscribed = false })
			return nil
		}
	}},
	{"the default group is always copied to", "group/a group that is subscribed but not default leaves default empty", func(b *broken) {
		b.onSubscribe = func(ctx context.Context, q driver.Queue) error {
			return errors.Join(b.Memory.Subscribe(ctx, q), b.Memory.Subscribe(ctx, driver.Queue{Topic: q.Topic, Group: driver.DefaultGroup}))
		}
	}},
	{"an id is free when one group ended it", "group/an id is a duplicate while any group has it", func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			for _, msg := range msgs {
				ended := false
				b.editAll(topic, func(q *queue) {
					ended = ended || q.ended.known(msg.ID, time.Now())
					q.ended.forget(msg.ID)
				})
				b.editAll(topic, func(q *queue) {
					if m := q.live[msg.ID]; m != nil && ended {
						q.drop(m)
					}
				})
			}
			return b.Memory.Push(ctx, topic, msgs)
		}
	}},
}
