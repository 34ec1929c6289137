package fanfare

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// maxSettle bounds how many results one call reports.
const maxSettle = 200

// result is what became of an event, on its way to the backend.
type result struct {
	driver.Settlement
	lease *lease
	wait  time.Duration // until the retry
	err   error         // of the handler
}

// settler holds the results that wait to be reported. While one call is under
// way the results of other handlers gather for the next.
type settler struct {
	mu     sync.Mutex
	queue  []result
	count  int // in queue and under way
	closed bool
	wake   chan struct{} // of capacity 1: something was added or closed
	room   chan struct{} // of capacity 1: something was reported
}

func (s *settler) add(r result) {
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.count++
	s.mu.Unlock()
	signal(s.wake)
}

// close lets next return nothing once all results are reported.
func (s *settler) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	signal(s.wake)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// waitForRoom waits while too many results are unreported. It reports false
// when ctx ends.
func (s *settler) waitForRoom(ctx context.Context) bool {
	for {
		s.mu.Lock()
		full := s.count >= maxUnsettled
		s.mu.Unlock()
		if !full {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-s.room:
		}
	}
}

// next waits for results and takes up to maxSettle. Where gathers says so, it waits
// once more for more of them. It returns none when the settler is closed and empty,
// or ctx ends.
func (s *settler) next(ctx context.Context, gathers func() bool) []result {
	for gathered := false; ; {
		s.mu.Lock()
		if n := len(s.queue); !gathered && 0 < n && n < maxSettle/2 && !s.closed {
			s.mu.Unlock()
			if gathered = true; gathers() {
				waitAtMost(ctx.Done(), gather)
			}
			continue
		}
		n := min(len(s.queue), maxSettle)
		batch := append([]result(nil), s.queue[:n]...)
		s.queue = slices.Delete(s.queue, 0, n)
		closed := s.closed
		s.mu.Unlock()
		if n > 0 || closed {
			return batch
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
	}
}

func (s *settler) reported(n int) {
	s.mu.Lock()
	s.count -= n
	s.mu.Unlock()
	signal(s.room)
}

// settle reports results until the settler is closed and empty. While the
// backend does not work it tries again; leases are kept meanwhile.
func (c *consumer) settle() {
	for {
		batch := c.settler.next(c.settling, c.gathers)
		if len(batch) == 0 {
			c.forgetHeld()
			return
		}
		c.settleBatch(batch)
		c.settler.reported(len(batch))
	}
}

func (c *consumer) settleBatch(batch []result) {
	all := make([]driver.Settlement, len(batch))
	for i, r := range batch {
		all[i] = r.Settlement
	}
	pause := retryPause{most: c.cfg.lease / 20} // while a result waits, its lease does not
	for c.settling.Err() == nil {
		ctx, cancel := context.WithTimeout(c.settling, callTimeout)
		errs, err := c.d.broker.Settle(ctx, c.queue, all)
		cancel()
		c.d.weather.report(call{c.queue, "settle"}, err)
		if err != nil {
			pause.wait(c.settling)
			continue
		}
		c.drop(batch)
		for i, r := range batch {
			c.settled(r, errs[i])
		}
		return
	}
}

// forgetHeld ends the keeping of leases whose results can no longer be reported.
func (c *consumer) forgetHeld() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.held)
	c.expiry.stop()
}
