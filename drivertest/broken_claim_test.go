package drivertest

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// claiming breaks a broker by what it does before each claim.
func claiming(change func(q *queue, r *driver.ClaimRequest)) func(b *broken) {
	return func(b *broken) {
		b.onClaim = func(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
			b.edit(q, func(q *queue) { change(q, &r) })
			return b.Memory.Claim(ctx, q, r)
		}
	}
}

// claimed breaks a broker by changing its answer to each claim.
func claimed(change func(q *queue, c *driver.Claim)) func(b *broken) {
	return func(b *broken) {
		b.onClaim = func(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
			c, err := b.Memory.Claim(ctx, q, r)
			b.edit(q, func(q *queue) { change(q, &c) })
			return c, err
		}
	}
}

// expiring breaks a broker by what it does to messages whose lease ran out.
func expiring(change func(m *message)) func(b *broken) {
	return claiming(func(q *queue, _ *driver.ClaimRequest) {
		for _, m := range q.running {
			if !m.at.After(time.Now()) {
				change(m)
			}
		}
	})
}

// delivered breaks a broker by changing each delivery.
func delivered(change func(m *message, d *driver.Delivery)) func(b *broken) {
	return claimed(func(q *queue, c *driver.Claim) {
		for i := range c.Deliveries {
			if d := &c.Deliveries[i]; q.live[d.ID] != nil {
				change(q.live[d.ID], d)
			}
		}
	})
}

var claimDefects = []defect{
	{"claim is early", "delay/a message is not claimed before its delay", claiming(func(q *queue, _ *driver.ClaimRequest) {
		if m := q.delayed.reached(time.Now().Add(moment / 2)); m != nil {
			q.place(m, driver.Ready, m.due)
		}
	})},
	{"claim is early and lies about it", "delay/a message is not claimed before its delay", claiming(func(q *queue, _ *driver.ClaimRequest) {
		if m := q.delayed.reached(time.Now().Add(moment / 2)); m != nil {
			q.postpone(m, time.Now(), time.Now())
		}
	})},
	{"the clock is ahead for due times", "delay/a message is not claimed before its delay", claimed(func(_ *queue, c *driver.Claim) {
		c.Now = c.Now.Add(-moment)
	})},
	{"claim ignores the limit", "claim/at most limit messages are claimed", claiming(func(_ *queue, r *driver.ClaimRequest) {
		r.Limit += 5
	})},
	{"claim is last in first out", "claim/messages are claimed in the order in which they came", claiming(reverse)},
	{"claim has the order of ids", "delay/messages are claimed in the order of their due times", claiming(shuffle)},
	{"low is starved", "priority/low is not starved", claiming(func(q *queue, _ *driver.ClaimRequest) {
		q.turn = rota{1 << 20, 0, 0}
	})},
	{"priority is ignored", "priority/a batch is weighted", claiming(func(q *queue, _ *driver.ClaimRequest) {
		q.turn = rota{0, 1 << 20, 0}
	})},
	{"turns are forgotten between claims", "priority/many claims of one are weighted", claiming(func(q *queue, _ *driver.ClaimRequest) {
		q.turn = rota{}
	})},
	{"priority is lost", "priority/a message has the priority it was pushed with", delivered(func(_ *message, d *driver.Delivery) {
		d.Priority = driver.Normal
	})},
	{"next is unknown", "claim/next is when the next message is due", claimed(func(_ *queue, c *driver.Claim) {
		c.Next = -1
	})},
	{"next is always now", "claim/an empty queue gives nothing and knows of nothing next", claimed(func(_ *queue, c *driver.Claim) {
		c.Next = 0
	})},
	{"next ignores leases", "claim/next is when the next lease ends", claimed(func(q *queue, c *driver.Claim) {
		if len(q.delayed) == 0 && c.Next > 0 {
			c.Next = -1
		}
	})},
	{"next ignores what is due already", "claim/next is zero while more is due", claimed(func(_ *queue, c *driver.Claim) {
		if c.Next == 0 {
			c.Next = time.Second
		}
	})},
	{"next is the later", "claim/next is the earlier of due time and end of lease", claimed(func(q *queue, c *driver.Claim) {
		for _, l := range []line{q.running, q.delayed} {
			if len(l) > 0 {
				c.Next = max(c.Next, l[len(l)-1].at.Sub(c.Now))
			}
		}
	})},
	{"at most once leaves it running", "claim/at most once leaves nothing running", claiming(func(_ *queue, r *driver.ClaimRequest) {
		r.AtMostOnce = false
	})},
	{"tokens are the same", "claim/any two claims of a message differ in token and the fence grows",
		delivered(func(m *message, d *driver.Delivery) { m.token, d.Token = "token", "token" })},
	{"the fence is the attempt", "claim/any two claims of a message differ in token and the fence grows",
		delivered(func(_ *message, d *driver.Delivery) { d.Fence = int64(d.Attempt) })},
	{"bodies are shared with handlers", "bytes/a handler may write to the body it was given",
		delivered(func(m *message, d *driver.Delivery) { d.Body = m.body })},
	{"attempts count from zero", "push/an accepted message can be claimed",
		delivered(func(_ *message, d *driver.Delivery) { d.Attempt-- })},
	{"claims do not count", "lease/each lease that ran out counts an attempt and no failure",
		delivered(func(m *message, _ *driver.Delivery) { m.attempts = 0 })},
}

// reverse mirrors the places of ready messages.
func reverse(q *queue, _ *driver.ClaimRequest) {
	q.advance(time.Now())
	for _, m := range q.live {
		if m.state == driver.Ready && m.at.Equal(m.due) {
			q.place(m, driver.Ready, epoch.Add(-m.due.Sub(epoch)))
		}
	}
}

// shuffle orders ready messages by the ends of their ids.
func shuffle(q *queue, _ *driver.ClaimRequest) {
	q.advance(time.Now())
	for _, m := range q.live {
		if m.state == driver.Ready {
			q.place(m, driver.Ready, epoch.Add(time.Duration(m.id[len(m.id)-1])))
		}
	}
}

var leaseDefects = []defect{
	{"leases never end", "lease/a message is claimable again when its lease ran out", claiming(func(_ *queue, r *driver.ClaimRequest) {
		r.Lease += long
	})},
	{"leases are short", "lease/a message is claimable again when its lease ran out", claiming(func(_ *queue, r *driver.ClaimRequest) {
		r.Lease /= 2
	})},
	{"a lease that ran out does not count", "lease/each lease that ran out counts an attempt and no failure",
		expiring(func(m *message) { m.attempts-- })},
	{"a lease that ran out is a failure", "lease/each lease that ran out counts an attempt and no failure",
		expiring(func(m *message) { m.failures++ })},
	{"a lease that ran out loses the priority", "lease/a lease that ran out keeps priority and due time",
		expiring(func(m *message) { m.priority = driver.Low })},
	{"a lease that ran out makes it due now", "lease/a lease that ran out keeps its turn among equals",
		expiring(func(m *message) { m.due = time.Now() })},
	{"a lease that ran out loses the message", "lease/a message is claimable again when its lease ran out",
		claiming(func(q *queue, _ *driver.ClaimRequest) {
			if m := q.running.reached(time.Now()); m != nil {
				q.drop(m)
			}
		})},
	{"a token ends with its lease", "lease/a lease that ran out can be settled while nobody else has the message",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if m := q.live[s.ID]; m != nil && m.waits() {
				m.token = ""
			}
		})},
	{"extend shortens", "lease/extend never shortens a lease", extending(func(m *message, _ driver.Receipt, lease time.Duration, q *queue) {
		q.place(m, driver.Running, time.Now().Add(lease))
	})},
	{"extend does nothing", "lease/extend sets the lease to end one lease from now", func(b *broken) {
		b.onExtend = func(_ context.Context, _ driver.Queue, _ time.Duration, held []driver.Receipt) ([]bool, error) {
			return make([]bool, len(held)), nil
		}
	}},
	{"extend adds to the lease", "claim/next is when the next lease ends", extending(func(m *message, _ driver.Receipt, lease time.Duration, q *queue) {
		q.place(m, driver.Running, m.at.Add(lease))
	})},
	{"extend ignores the token", "stale/a stale token cannot extend", func(b *broken) {
		b.onExtend = func(ctx context.Context, q driver.Queue, lease time.Duration, held []driver.Receipt) ([]bool, error) {
			b.edit(q, func(q *queue) {
				for i := range held {
					if m := q.live[held[i].ID]; m != nil {
						held[i].Token = m.token
					}
				}
			})
			return b.Memory.Extend(ctx, q, "", lease, held)
		}
	}},
	{"extend never reports a loss", "lease/extend reports which claims are lost", func(b *broken) {
		b.onExtend = func(ctx context.Context, q driver.Queue, lease time.Duration, held []driver.Receipt) ([]bool, error) {
			_, err := b.Memory.Extend(ctx, q, "", lease, held)
			return make([]bool, len(held)), err
		}
	}},
	{"extend gives up what ran out", "lease/a lease that ran out can be extended while nobody else has the message", func(b *broken) {
		b.onExtend = func(ctx context.Context, q driver.Queue, lease time.Duration, held []driver.Receipt) ([]bool, error) {
			b.edit(q, func(q *queue) {
				if m := q.running.reached(time.Now()); m != nil {
					m.token = ""
				}
			})
			return b.Memory.Extend(ctx, q, "", lease, held)
		}
	}},
}

// extending breaks a broker by what it does after it has extended a claim.
func extending(change func(m *message, r driver.Receipt, lease time.Duration, q *queue)) func(b *broken) {
	return func(b *broken) {
		b.onExtend = func(ctx context.Context, q driver.Queue, lease time.Duration, held []driver.Receipt) ([]bool, error) {
			lost, err := b.Memory.Extend(ctx, q, "", lease, held)
			b.edit(q, func(q *queue) {
				for i, r := range held {
					if !lost[i] {
						change(q.live[r.ID], r, lease, q)
					}
				}
			})
			return lost, err
		}
	}
}

var waitDefects = []defect{
	{"wait ignores pushes", "wait/a push wakes", sleeping},
	{"wait misses what came before", "wait/a push before the wait wakes too", sleeping},
	{"wait ignores releases", "wait/a release wakes", sleeping},
	{"wait ignores sooner due times", "wait/a push that is due before what is known wakes in time", sleeping},
	{"wait ignores resumes", "wait/a resume wakes", sleeping},
	{"wait ignores other processes", "reopen/a push of one process wakes another", sleeping},
	{"wait is late", "wait/wait returns after its time", func(b *broken) {
		b.onWait = func(ctx context.Context, q driver.Queue, d time.Duration) error {
			return b.Memory.Wait(ctx, q, d+moment)
		}
	}},
	{"wait is an error after its time", "wait/wait returns after its time", func(b *broken) {
		b.onWait = func(ctx context.Context, q driver.Queue, d time.Duration) error {
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			return b.Memory.Wait(ctx, q, long)
		}
	}},
	{"wait hides the deadline", "wait/wait returns by the deadline of its context", func(b *broken) {
		b.onWait = func(ctx context.Context, q driver.Queue, d time.Duration) error {
			if err := b.Memory.Wait(ctx, q, d); ctx.Err() == nil {
				return err
			}
			return nil
		}
	}},
	{"wait is late for the context", "wait/wait returns when its context is canceled", func(b *broken) {
		b.onWait = func(ctx context.Context, q driver.Queue, d time.Duration) error {
			err := b.Memory.Wait(ctx, q, d)
			<-time.After(moment)
			return err
		}
	}},
}

// sleeping breaks a broker by letting Wait do nothing but wait.
func sleeping(b *broken) {
	b.onWait = func(ctx context.Context, _ driver.Queue, d time.Duration) error {
		return b.Memory.Wait(ctx, driver.Queue{Topic: "nobody pushes here", Group: driver.DefaultGroup}, d)
	}
}
