package local

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// step is how many events pass between two looks at how many were handled.
const step = 1000

// tally counts what one handler handled. Those who wait are told of each step.
type tally struct {
	n  atomic.Int64
	_  [56]byte
	mu sync.Mutex
	at sync.Cond
}

func newTally() *tally {
	t := &tally{}
	t.at.L = &t.mu
	return t
}

func (t *tally) handle(event) {
	if t.n.Add(1)%step == 0 {
		t.tell()
	}
}

func (t *tally) tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at.Broadcast()
}

// wait returns when n events, a multiple of step, were handled.
func (t *tally) wait(ctx context.Context, n int) error {
	if t.n.Load() >= int64(n) {
		return nil
	}
	defer context.AfterFunc(ctx, t.tell)()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.n.Load() < int64(n) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d of %d events were handled: %w", t.n.Load(), n, err)
		}
		t.at.Wait()
	}
	return nil
}
