package trial

import (
	"context"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/audit"
)

// chronicle is what was done to the processes and the server, and what became of
// the server by itself.
type chronicle struct {
	epoch time.Time

	mu     sync.Mutex
	faults []audit.Fault
	err    error // of the soak itself
	failed chan struct{}
}

func newChronicle() *chronicle {
	return &chronicle{epoch: time.Now().Round(0), failed: make(chan struct{})}
}

func (c *chronicle) now() time.Duration { return time.Since(c.epoch) }

// note writes down a fault that ends now. Process 0 stands for all.
func (c *chronicle) note(kind audit.Cause, process int, from time.Duration) {
	f := audit.Fault{Kind: kind, Process: process, From: from, To: c.now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, f)
}

// fail ends the soak, which cannot go on.
func (c *chronicle) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.failed)
	}
}

func (c *chronicle) all() ([]audit.Fault, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]audit.Fault(nil), c.faults...), c.err
}

// counts returns how many faults of each kind there were.
func (c *chronicle) counts() map[audit.Cause]int {
	counts := map[audit.Cause]int{}
	all, _ := c.all()
	for _, f := range all {
		counts[f.Kind]++
	}
	return counts
}

// A server that takes longer than slowProbe to write something down was away.
const (
	probing   = 100 * time.Millisecond
	slowProbe = 200 * time.Millisecond
)

// watch notes when the server does not answer, until ctx ends. It knows nothing
// of the wires.
func (c *chronicle) watch(ctx context.Context, probe func(ctx context.Context) error) {
	for since, away := c.now(), false; sleep(ctx, probing); {
		if !away {
			since = c.now()
		}
		call, cancel := context.WithTimeout(ctx, time.Second)
		err := probe(call)
		cancel()
		away = err != nil
		if took := c.now() - since; !away && took > slowProbe && ctx.Err() == nil {
			c.note(audit.Stall, 0, since)
		}
	}
}
