package drivertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var cancelDefects = []defect{
	{"cancel lies", "cancel/what is not there is not canceled", func(b *broken) {
		b.onCancel = func(ctx context.Context, topic, id string) (bool, error) {
			_, err := b.Memory.Cancel(ctx, topic, id)
			return true, err
		}
	}},
	{"cancel does nothing", "cancel/a canceled message never runs", func(b *broken) {
		b.onCancel = func(context.Context, string, string) (bool, error) { return true, nil }
	}},
	{"cancel removes what runs", "cancel/a running message is not canceled", func(b *broken) {
		b.onCancel = func(ctx context.Context, topic, id string) (bool, error) {
			ok, err := b.Memory.Cancel(ctx, topic, id)
			b.editAll(topic, func(q *queue) {
				if m := q.live[id]; m != nil {
					q.drop(m)
					ok = true
				}
			})
			return ok, err
		}
	}},
	{"cancel ignores that a copy runs", "cancel/cancel is false while a copy runs", func(b *broken) {
		b.onCancel = func(ctx context.Context, topic, id string) (bool, error) {
			waits := false
			b.editAll(topic, func(q *queue) { waits = waits || q.live[id] != nil && q.live[id].waits() })
			_, err := b.Memory.Cancel(ctx, topic, id)
			return waits, err
		}
	}},
	{"cancel removes one copy", "cancel/cancel removes every copy that waits", func(b *broken) {
		b.onCancel = func(_ context.Context, topic, id string) (bool, error) {
			found := false
			b.editAll(topic, func(q *queue) {
				if m := q.live[id]; m != nil && !found {
					q.drop(m)
					found = true
				}
			})
			return found, nil
		}
	}},
	{"cancel keeps the id", "cancel/the id of a canceled message is free at once", func(b *broken) {
		b.onCancel = func(ctx context.Context, topic, id string) (bool, error) {
			ok, err := b.Memory.Cancel(ctx, topic, id)
			b.editAll(topic, func(q *queue) { q.ended.remember(id, "", time.Now(), long) })
			return ok, err
		}
	}},
	{"cancel removes the dead", "cancel/a dead message is not canceled", func(b *broken) {
		b.onCancel = func(ctx context.Context, topic, id string) (bool, error) {
			n, err := b.Memory.DeleteDead(ctx, driver.Queue{Topic: topic, Group: driver.DefaultGroup}, id)
			return n > 0, err
		}
	}},
	{"reschedule does nothing", "cancel/reschedule makes a message due later", func(b *broken) {
		b.onReschedule = func(context.Context, string, string, time.Time) (bool, error) { return true, nil }
	}},
	{"reschedule reaches what runs", "cancel/what runs or is not there is not rescheduled", func(b *broken) {
		b.onReschedule = func(_ context.Context, topic, id string, at time.Time) (bool, error) {
			found := false
			b.editAll(topic, func(q *queue) {
				if m := q.live[id]; m != nil {
					q.postpone(m, at, time.Now())
					found = true
				}
			})
			return found, nil
		}
	}},
}

var inspectDefects = []defect{
	{"status is off by one", "status/status counts messages by their state", func(b *broken) {
		b.onStatus = func(s *driver.Status) { s.Ready++ }
	}},
	{"status counts running as ready", "status/status counts messages by their state", func(b *broken) {
		b.onStatus = func(s *driver.Status) { s.Ready, s.Running = s.Ready+s.Running, 0 }
	}},
	{"status never forgets", "status/status is zero after everything ended", func(b *broken) {
		b.onStatus = func(s *driver.Status) { s.Running += min(int(b.claims), 1) }
	}},
	{"status counts claims as consumers", "status/status counts consumers", func(b *broken) {
		b.onStatus = func(s *driver.Status) { s.Consumers++ }
	}},
	{"status has no oldest", "status/status says for how long the oldest ready message has been due", func(b *broken) {
		b.onStatus = func(s *driver.Status) { s.OldestDue = 0 }
	}},
	{"status hides pauses", "pause/status shows what is paused", func(b *broken) {
		b.onStatus = func(s *driver.Status) { s.Paused = false }
	}},
	{"get claims", "inspect/looking changes nothing", func(b *broken) {
		b.onGet = func(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
			b.edit(q, func(q *queue) {
				if m := q.live[id]; m != nil {
					m.attempts++
				}
			})
			return b.Memory.Get(ctx, q, id)
		}
	}},
	{"get shows the dead first", "window/a living message is shown before a dead one of its id", func(b *broken) {
		b.onGet = func(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
			r, err := b.Memory.Get(ctx, q, id)
			b.edit(q, func(of *queue) {
				if m := of.dead[id]; m != nil {
					r = m.record(q)
				}
			})
			return r, err
		}
	}},
	{"get finds nothing and says nothing", "inspect/what is not there is not found", func(b *broken) {
		b.onGet = func(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
			r, err := b.Memory.Get(ctx, q, id)
			if errors.Is(err, driver.ErrNotFound) {
				err = nil
			}
			return r, err
		}
	}},
	{"get shares the body", "inspect/looking changes nothing", func(b *broken) {
		b.onGet = func(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
			r, err := b.Memory.Get(ctx, q, id)
			b.edit(q, func(q *queue) {
				if m := q.live[id]; m != nil {
					r.Body = m.body
				}
			})
			return r, err
		}
	}},
	{"list ignores the offset", "list/a list has pages", func(b *broken) {
		b.onList = func(ctx context.Context, q driver.Queue, s driver.State, _, limit int) ([]driver.Record, error) {
			return b.Memory.List(ctx, q, s, 0, limit)
		}
	}},
	{"list ignores the limit", "list/a list has pages", func(b *broken) {
		b.onList = func(ctx context.Context, q driver.Queue, s driver.State, offset, _ int) ([]driver.Record, error) {
			return b.Memory.List(ctx, q, s, offset, 1000)
		}
	}},
	{"list takes a negative offset for zero", "list/a negative offset counts from the end", func(b *broken) {
		b.onList = func(ctx context.Context, q driver.Queue, s driver.State, offset, limit int) ([]driver.Record, error) {
			return b.Memory.List(ctx, q, s, max(offset, 0), limit)
		}
	}},
	{"list has the newest dead first", "list/dead messages are listed oldest first", listing(driver.Dead, func(a, b driver.Record) int {
		return b.Time.Compare(a.Time)
	})},
	{"list has ready by due time alone", "list/ready messages are listed by priority and due time", listing(driver.Ready, func(a, b driver.Record) int {
		return a.Time.Compare(b.Time)
	})},
	{"list has delayed by id", "list/delayed messages are listed by due time", listing(driver.Delayed, func(a, b driver.Record) int {
		return -strings.Compare(a.ID, b.ID)
	})},
	{"list has running by claim", "list/running messages are listed by the end of their lease", listing(driver.Running, func(a, b driver.Record) int {
		return strings.Compare(a.ID, b.ID)
	})},
}

// listing breaks a broker by sorting the lists of a state in another way.
func listing(s driver.State, by func(a, b driver.Record) int) func(b *broken) {
	return func(b *broken) {
		b.onList = func(ctx context.Context, q driver.Queue, of driver.State, offset, limit int) ([]driver.Record, error) {
			records, err := b.Memory.List(ctx, q, of, offset, limit)
			if of == s {
				slices.SortFunc(records, by)
			}
			return records, err
		}
	}
}

var deadDefects = []defect{
	{"requeue keeps the counters", "dead/requeue lets a dead letter wait again with its counters at zero", requeuing(
		func(_ *queue, m *message, was message) { m.attempts, m.failures = was.attempts, was.failures })},
	{"requeue loses the body", "dead/requeue lets a dead letter wait again with its counters at zero", requeuing(
		func(_ *queue, m *message, _ message) { m.body = nil })},
	{"requeue loses the priority", "dead/requeue keeps the priority", requeuing(func(q *queue, m *message, _ message) {
		q.lineOf(m).remove(m)
		m.priority = driver.Normal
		q.lineOf(m).add(m)
	})},
	{"requeue keeps the due time", "dead/requeue lets a dead letter wait again now", requeuing(func(q *queue, m *message, was message) {
		q.postpone(m, was.due, time.Now())
	})},
	{"requeue keeps the dead letter", "dead/requeue lets a dead letter wait again with its counters at zero", requeuing(
		func(q *queue, _ *message, was message) {
			was.state = driver.Dead
			q.dead[was.id] = &was
			q.buried.add(&was)
		})},
	{"requeue says nothing about what lives", "window/requeue of an id that lives is a duplicate", func(b *broken) {
		b.onRequeue = func(ctx context.Context, q driver.Queue, ids []string) ([]error, error) {
			_, err := b.Memory.Requeue(ctx, q, ids...)
			return make([]error, len(ids)), err
		}
	}},
	{"requeue is refused in the window", "dead/requeue lets a dead letter wait again now", func(b *broken) {
		b.onRequeue = func(_ context.Context, _ driver.Queue, ids []string) ([]error, error) {
			return slices.Repeat([]error{driver.ErrDuplicate}, len(ids)), nil
		}
	}},
	{"delete dead counts what it was asked", "dead/delete dead removes dead letters and counts them", func(b *broken) {
		b.onDeleteDead = func(ctx context.Context, q driver.Queue, ids []string) (int, error) {
			_, err := b.Memory.DeleteDead(ctx, q, ids...)
			return len(ids), err
		}
	}},
	{"delete dead removes what lives", "dead/delete dead leaves what lives", func(b *broken) {
		b.onDeleteDead = func(_ context.Context, q driver.Queue, ids []string) (int, error) {
			b.edit(q, func(q *queue) {
				for _, id := range ids {
					if m := q.live[id]; m != nil {
						q.drop(m)
					}
				}
			})
			return 0, nil
		}
	}},
	{"purge leaves what runs", "purge/running messages do not come back after a purge", func(b *broken) {
		b.onPurge = func(ctx context.Context, q driver.Queue) (int, error) {
			var running []*message
			b.edit(q, func(q *queue) { running = slices.Clone(q.running) })
			n, err := b.Memory.Purge(ctx, q)
			b.edit(q, func(q *queue) {
				for _, m := range running {
					q.live[m.id] = m
					q.running.add(m)
				}
			})
			return n, err
		}
	}},
	{"purge removes the dead", "purge/dead letters stay", func(b *broken) {
		b.onPurge = func(ctx context.Context, q driver.Queue) (int, error) {
			n, err := b.Memory.Purge(ctx, q)
			b.edit(q, func(q *queue) { clear(q.dead); q.buried = nil })
			return n, err
		}
	}},
	{"purge counts what waits alone", "purge/claims are lost after a purge", func(b *broken) {
		b.onPurge = func(ctx context.Context, q driver.Queue) (int, error) {
			running := 0
			b.edit(q, func(q *queue) { running = len(q.running) })
			n, err := b.Memory.Purge(ctx, q)
			return n - running, err
		}
	}},
	{"purge keeps the ids", "purge/an id is free after a purge", func(b *broken) {
		b.onPurge = func(ctx context.Context, q driver.Queue) (int, error) {
			b.edit(q, func(q *queue) {
				for id := range q.live {
					q.ended.remember(id, "", time.Now(), long)
				}
			})
			return b.Memory.Purge(ctx, q)
		}
	}},
	{"purge settles claims", "purge/claims are lost after a purge", func(b *broken) {
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			_, err := b.Memory.Settle(ctx, q, s)
			return make([]error, len(s)), err
		}
	}},
}

// requeuing breaks a broker by what it does to a message that it has requeued.
func requeuing(change func(q *queue, m *message, was message)) func(b *broken) {
	return func(b *broken) {
		b.onRequeue = func(ctx context.Context, q driver.Queue, ids []string) ([]error, error) {
			was := map[string]message{}
			b.edit(q, func(q *queue) {
				for id, m := range q.dead {
					was[id] = *m
				}
			})
			outcomes, err := b.Memory.Requeue(ctx, q, ids...)
			b.edit(q, func(q *queue) {
				for i, id := range ids {
					if outcomes[i] == nil {
						change(q, q.live[id], was[id])
					}
				}
			})
			return outcomes, err
		}
	}
}

var pauseDefects = []defect{
	{"pause does nothing", "pause/nothing is claimed from a paused group", func(b *broken) {
		b.onPause = func(context.Context, driver.Queue) error { return nil }
	}},
	{"pause of a topic is that of the default group", "pause/nothing is claimed from a paused topic", func(b *broken) {
		b.onPause = func(ctx context.Context, q driver.Queue) error {
			q.Group = driver.DefaultGroup
			return b.Memory.Pause(ctx, q)
		}
	}},
	{"pause of a group is that of the topic", "pause/pausing one group leaves the others alone", func(b *broken) {
		b.onPause = func(ctx context.Context, q driver.Queue) error { return b.Memory.Pause(ctx, whole(q)) }
	}},
	{"pause loses what is pushed", "pause/what is pushed during a pause comes after it", func(b *broken) {
		b.onPush = func(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
			b.mu.Lock()
			paused := b.Memory.topic(topic, time.Now()).isPaused(driver.DefaultGroup)
			b.mu.Unlock()
			if paused {
				return make([]error, len(msgs)), nil
			}
			return b.Memory.Push(ctx, topic, msgs)
		}
	}},
	{"pause asks for another claim at once", "pause/nothing is claimed from a paused group", claimed(func(q *queue, c *driver.Claim) {
		if len(c.Deliveries) == 0 && len(q.live) > 0 {
			c.Next = 0
		}
	})},
	{"pause loses claims", "pause/claims can be extended and settled during a pause", func(b *broken) {
		b.onPause = func(ctx context.Context, q driver.Queue) error {
			b.edit(q, func(q *queue) {
				for _, m := range q.running {
					m.token = ""
				}
			})
			return b.Memory.Pause(ctx, q)
		}
	}},
	{"pause ends when the queue is empty", "pause/a pause lasts when nothing is left",
		settling(func(b *broken, _ *queue, _ *driver.Settlement) {
			for _, t := range b.topics {
				clear(t.paused)
			}
		})},
	{"resume ends every pause", "pause/resume ends only what pause with the same queue began", func(b *broken) {
		b.onResume = func(ctx context.Context, q driver.Queue) error {
			return errors.Join(b.Memory.Resume(ctx, q), b.Memory.Resume(ctx, whole(q)))
		}
	}},
	{"pauses are counted", "pause/pausing again changes nothing", func(b *broken) {
		pauses := map[driver.Queue]int{}
		b.onPause = func(ctx context.Context, q driver.Queue) error {
			pauses[q]++
			return b.Memory.Pause(ctx, q)
		}
		b.onResume = func(ctx context.Context, q driver.Queue) error {
			if pauses[q]--; pauses[q] > 0 {
				return nil
			}
			return b.Memory.Resume(ctx, q)
		}
	}},
}
