package drivertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var waitPromises = []promise{
	{"wait returns after its time", waitReturns},
	{"wait for no time returns at once", waitNoTime},
	{"wait returns by the deadline of its context", waitDeadline},
	{"wait returns when its context is canceled", waitCanceled},
	{"a push wakes", waitPush},
	{"a push before the wait wakes too", waitPushedBefore},
	{"a push that is due before what is known wakes in time", waitSooner},
	{"a delayed message is had in time", waitDue},
	{"a message whose lease ran out is had in time", waitLease},
	{"a release wakes", func(c *trial) { waitSettled(c, driver.Release) }},
	{"a retry without delay wakes", func(c *trial) { waitSettled(c, driver.Retry) }},
	{"an ack wakes who waits for what is to run again", waitAgain},
	{"a requeue wakes", waitRequeued},
	{"a resume wakes", waitResumed},
	{"a message that is rescheduled to now wakes", waitRescheduled},
	{"a message for one group wakes that group", waitGroups},
}

// patience is how long a Wait lasts that should be woken.
func (c *trial) patience() time.Duration { return 8 * c.h.Slack }

// consume does what a consumer does: it claims, and waits while there is
// nothing to claim. It returns when it looked and found the message of the id: how
// long the claim took then, which may be a commit, is not how late the waking was.
func (c *trial) consume(id string) (time.Time, error) {
	deadline := time.Now().Add(2 * c.patience())
	for {
		looked := time.Now()
		claim, err := c.b.Claim(c.Context(), c.queue, driver.ClaimRequest{Limit: 10, Lease: long, Consumer: "waiter"})
		if err != nil {
			return time.Time{}, err
		}
		for _, d := range claim.Deliveries {
			if d.ID == id {
				return looked, nil
			}
		}
		if time.Now().After(deadline) {
			return time.Time{}, fmt.Errorf("message %q did not come", id)
		}
		d := c.patience()
		if claim.Next >= 0 {
			d = min(d, claim.Next)
		}
		if err := c.b.Wait(c.Context(), c.queue, d); err != nil {
			return time.Time{}, err
		}
	}
}

// punctual requires that a consumer has a message within the slack of the
// instant from which it is claimable, which act brings about and returns. It
// tries three times: a slow machine may spoil one, a broker that is late all.
func (c *trial) punctual(prepare func(id string) (act func() time.Time)) {
	c.Helper()
	var late time.Duration
	for i := range 3 {
		id := fmt.Sprint(c.queue.Group, i)
		if late = c.lateness(id, prepare(id)); late <= c.h.Slack {
			return
		}
	}
	c.Errorf("a waiting consumer had the message after %v, want within %v", late, c.h.Slack)
}

// lateness lets a consumer wait while act is done, and returns how long after
// the instant that act returns it had the message.
func (c *trial) lateness(id string, act func() time.Time) time.Duration {
	c.Helper()
	var came time.Time
	var err error
	var consuming sync.WaitGroup
	defer consuming.Wait()
	consuming.Go(func() { came, err = c.consume(id) })
	<-time.After(moment / 5) // most likely the consumer waits by then; the message must come either way
	claimable := act()
	consuming.Wait()
	c.must(err)
	return came.Sub(claimable)
}

// took requires that f returns within the slack of d, in one of three tries.
func (c *trial) took(d time.Duration, f func()) {
	c.Helper()
	var took time.Duration
	for range 3 {
		start := time.Now()
		f()
		if took = time.Since(start); took <= d+c.h.Slack {
			return
		}
	}
	c.Errorf("returned after %v, want within %v of %v", took, c.h.Slack, d)
}

func waitReturns(c *trial) {
	c.took(moment, func() { c.must(c.b.Wait(c.Context(), c.queue, moment)) })
}

func waitNoTime(c *trial) {
	c.took(0, func() { c.must(c.b.Wait(c.Context(), c.queue, 0)) })
	c.took(0, func() { c.must(c.b.Wait(c.Context(), c.queue, -time.Second)) })
}

func waitDeadline(c *trial) {
	c.took(moment, func() {
		ctx, cancel := context.WithTimeout(c.Context(), moment)
		defer cancel()
		c.failed(c.b.Wait(ctx, c.queue, long), "Wait beyond the deadline")
	})
}

func waitCanceled(c *trial) {
	c.took(moment, func() {
		ctx, cancel := context.WithCancel(c.Context())
		stop := time.AfterFunc(moment, cancel)
		defer stop.Stop()
		c.failed(c.b.Wait(ctx, c.queue, long), "Wait with a canceled context")
	})
}

func waitPush(c *trial) {
	c.punctual(func(id string) func() time.Time {
		return func() time.Time {
			c.accept(plain(id))
			return time.Now()
		}
	})
}

// What is pushed between a Claim that found nothing and the Wait is not missed.
func waitPushedBefore(c *trial) {
	i := 0
	c.took(0, func() {
		i++
		c.nothing()
		c.accept(plain(fmt.Sprint(i)))
		c.must(c.b.Wait(c.Context(), c.queue, c.patience()))
		c.one(fmt.Sprint(i))
	})
}

func waitSooner(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	c.accept(driver.Message{ID: "far", Delay: long})
	c.punctual(func(id string) func() time.Time {
		return func() time.Time {
			due := time.Now().Add(moment)
			c.accept(driver.Message{ID: id, Delay: moment})
			return later(due, time.Now())
		}
	})
}

func waitDue(c *trial) {
	c.needs(c.caps.Delay > 0, "delays")
	c.punctual(func(id string) func() time.Time {
		due := time.Now().Add(moment)
		c.accept(driver.Message{ID: id, Delay: moment})
		return func() time.Time { return later(due, time.Now()) }
	})
}

func waitLease(c *trial) {
	c.punctual(func(id string) func() time.Time {
		c.accept(plain(id))
		end := time.Now().Add(moment)
		c.oneFor(id, moment)
		return func() time.Time { return later(end, time.Now()) }
	})
}

func waitSettled(c *trial, v driver.Verb) {
	c.punctual(func(id string) func() time.Time {
		c.accept(plain(id))
		d := c.one(id)
		return func() time.Time {
			c.end(d, v)
			return time.Now()
		}
	})
}

func waitAgain(c *trial) {
	c.needs(c.caps.Conflict, "conflict modes")
	c.punctual(func(id string) func() time.Time {
		c.accept(plain(id))
		d := c.one(id)
		c.accept(driver.Message{ID: id, Conflict: driver.RunAgain})
		return func() time.Time {
			c.end(d, driver.Ack)
			return time.Now()
		}
	})
}

func waitRequeued(c *trial) {
	letters := ability[driver.DeadLetters](c)
	c.punctual(func(id string) func() time.Time {
		c.accept(plain(id))
		c.end(c.one(id), driver.Bury)
		return func() time.Time {
			c.requeue(letters, id)
			return time.Now()
		}
	})
}

func waitResumed(c *trial) {
	pauser := ability[driver.Pauser](c)
	c.punctual(func(id string) func() time.Time {
		c.must(pauser.Pause(c.Context(), c.queue))
		c.accept(plain(id))
		return func() time.Time {
			c.must(pauser.Resume(c.Context(), c.queue))
			return time.Now()
		}
	})
}

func waitRescheduled(c *trial) {
	canceler := ability[driver.Canceler](c)
	c.needs(c.caps.Delay > 0, "delays")
	c.punctual(func(id string) func() time.Time {
		c.accept(driver.Message{ID: id, Delay: long})
		return func() time.Time {
			found, err := canceler.Reschedule(c.Context(), c.queue.Topic, id, c.clock())
			c.must(err)
			if !found {
				c.Error("Reschedule of a delayed message = false, want true")
			}
			return time.Now()
		}
	})
}

func waitGroups(c *trial) {
	one, two := c.groups()
	waitPush(one)
	waitPush(two)
}
