package drivertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var racePromises = []promise{
	{"no two claimers get the same message", raceClaims},
	{"of pushes of one id at a time one is accepted", racePushes},
	{"a message is either canceled or claimed", raceCancel},
	{"an acked message is not claimed again", raceAcked},
	{"a settlement sent twice at a time counts once", raceSettled},
	{"a retried message is not lost", raceRetried},
}

// raceErrors collects what goes wrong in goroutines, which may not end a test.
type raceErrors struct {
	mu   sync.Mutex
	list []error
}

func (e *raceErrors) add(err error) {
	if err == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, err)
}

// together runs f for each of n numbers at a time, and requires that none fails.
func (c *trial) together(n int, f func(i int) error) {
	c.Helper()
	var failed raceErrors
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { failed.add(f(i)) })
	}
	running.Wait()
	c.must(errors.Join(failed.list...))
}

func raceClaims(c *trial) { claimAll(c, []*trial{c, c, c, c, c, c, c, c}, 2000) }

// claimAll lets all claimers, one goroutine each, claim and ack n messages.
func claimAll(c *trial, claimers []*trial, n int) {
	c.Helper()
	for i := 0; i < n; i += 100 {
		var msgs []driver.Message
		for j := range 100 {
			msgs = append(msgs, plain(fmt.Sprint(i+j)))
		}
		c.accept(msgs...)
	}
	var mu sync.Mutex
	seen, progress := map[string]int{}, time.Now()
	left := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) < n && time.Since(progress) < 20*c.h.Slack
	}
	c.together(len(claimers), func(i int) error {
		for left() {
			ds, err := claimers[i].claimAndAck(1+i, long)
			if err != nil {
				return err
			}
			mu.Lock()
			for _, d := range ds {
				seen[d.ID]++
				progress = time.Now()
			}
			mu.Unlock()
			if len(ds) == 0 {
				<-time.After(time.Millisecond)
			}
		}
		return nil
	})
	for id, times := range seen {
		if times != 1 {
			c.Errorf("message %q was claimed %d times, want once", id, times)
		}
	}
	if len(seen) != n {
		c.Errorf("claimed %d messages, want %d", len(seen), n)
	}
	c.drained()
	c.ended()
}

// claimAndAck claims up to limit messages and acks them. It does not end the test.
func (c *trial) claimAndAck(limit int, lease time.Duration) ([]driver.Delivery, error) {
	claim, err := c.b.Claim(c.Context(), c.queue, driver.ClaimRequest{Limit: limit, Lease: lease})
	if err != nil || len(claim.Deliveries) == 0 {
		return nil, err
	}
	var acks []driver.Settlement
	for _, d := range claim.Deliveries {
		acks = append(acks, driver.Settlement{Receipt: d.Receipt, Verb: driver.Ack})
	}
	outcomes, err := c.b.Settle(c.Context(), c.queue, acks)
	return claim.Deliveries, errors.Join(append(outcomes, err)...)
}

func racePushes(c *trial) {
	c.needs(c.caps.UniqueID, "unique ids")
	for i := range 20 {
		id := fmt.Sprint(i)
		accepted := make(chan string, 8)
		c.together(8, func(i int) error {
			body := fmt.Sprint("body ", i)
			outcomes, err := c.b.Push(c.Context(), c.queue.Topic, []driver.Message{{ID: id, Body: []byte(body)}})
			switch {
			case err != nil:
				return err
			case outcomes[0] == nil:
				accepted <- body
			case !errors.Is(outcomes[0], driver.ErrDuplicate):
				return outcomes[0]
			}
			return nil
		})
		if n := len(accepted); n != 1 {
			c.Fatalf("%d of 8 pushes of one id were accepted, want 1", n)
		}
		c.body(id, <-accepted)
	}
	c.nothing()
}

func raceCancel(c *trial) {
	canceler := ability[driver.Canceler](c)
	for i := range 100 {
		id := fmt.Sprint(i)
		c.accept(plain(id))
		var canceled bool
		var claimed []driver.Delivery
		c.together(2, func(who int) error {
			var err error
			if who == i%2 { // where one processor has both, the later one comes first
				canceled, err = canceler.Cancel(c.Context(), c.queue.Topic, id)
			} else {
				claimed, err = c.claimAndAck(1, long)
			}
			return err
		})
		if !canceled && len(claimed) == 0 {
			claimed = c.take(1) // it may have become due only now
		}
		if canceled && len(claimed) > 0 {
			c.Errorf("message %q was canceled and claimed, want one of them", id)
		}
	}
	c.nothing()
}

// Leases that are shorter than the handlers take make consumers overtake each other.
func raceAcked(c *trial) {
	const n = 100
	var msgs []driver.Message
	for i := range n {
		msgs = append(msgs, plain(fmt.Sprint(i)))
	}
	c.accept(msgs...)
	var mu sync.Mutex
	acked := map[string]time.Time{}
	left := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(acked) < n
	}
	deadline := time.Now().Add(20 * c.h.Slack)
	c.together(4, func(int) error {
		for left() && time.Now().Before(deadline) {
			start := time.Now()
			claim, err := c.b.Claim(c.Context(), c.queue, driver.ClaimRequest{Limit: 3, Lease: 5 * time.Millisecond})
			if err != nil {
				return err
			}
			for _, d := range claim.Deliveries {
				mu.Lock()
				at, ended := acked[d.ID]
				mu.Unlock()
				if ended && at.Before(start) {
					return fmt.Errorf("message %q was claimed (attempt %d) after it was acked", d.ID, d.Attempt)
				}
				<-time.After(rand.N(8 * time.Millisecond))
				outcomes, err := c.b.Settle(c.Context(), c.queue, []driver.Settlement{{Receipt: d.Receipt}})
				if err != nil {
					return err
				}
				if outcomes[0] == nil {
					mu.Lock()
					acked[d.ID] = time.Now()
					mu.Unlock()
				}
			}
		}
		return nil
	})
	if len(acked) == n {
		c.drained()
	}
}

func raceSettled(c *trial) {
	for i := range 20 {
		id := fmt.Sprint(i)
		c.accept(plain(id))
		s := []driver.Settlement{{Receipt: c.one(id).Receipt, Verb: driver.Retry}}
		c.together(4, func(int) error {
			outcomes, err := c.b.Settle(c.Context(), c.queue, s)
			return errors.Join(append(outcomes, err)...)
		})
		d := c.one(id)
		c.counted(d, 2, 1)
		c.end(d, driver.Ack)
	}
	c.drained()
}

func raceRetried(c *trial) {
	const n = 50
	for i := range n {
		c.accept(plain(fmt.Sprint(i)))
	}
	var mu sync.Mutex
	attempts, highest, progress := map[string]int{}, map[string]int{}, time.Now()
	left := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(attempts) < n && time.Since(progress) < 20*c.h.Slack
	}
	c.together(4, func(int) error {
		for left() {
			claim, err := c.b.Claim(c.Context(), c.queue, driver.ClaimRequest{Limit: 5, Lease: long})
			if err != nil {
				return err
			}
			var ends []driver.Settlement
			for _, d := range claim.Deliveries {
				v := driver.Retry
				mu.Lock()
				if d.Attempt > highest[d.ID] && d.Attempt <= 4 {
					highest[d.ID], progress = d.Attempt, time.Now()
				}
				if d.Attempt == 4 {
					v = driver.Ack
					attempts[d.ID] = d.Failures
				}
				mu.Unlock()
				ends = append(ends, driver.Settlement{Receipt: d.Receipt, Verb: v})
			}
			outcomes, err := c.b.Settle(c.Context(), c.queue, ends)
			if err := errors.Join(append(outcomes, err)...); err != nil {
				return err
			}
		}
		return nil
	})
	for id, failures := range attempts {
		if failures != 3 {
			c.Errorf("message %q has %d failures at attempt 4, want 3", id, failures)
		}
	}
	if len(attempts) != n {
		c.Errorf("%d messages reached attempt 4, want %d", len(attempts), n)
	}
	c.drained()
	c.ended()
}
