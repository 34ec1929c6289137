package trial

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/load"
)

// produce dispatches until ctx ends.
func (c *child) produce(ctx context.Context) error {
	defer c.stop()
	var p producer
	p.child = c
	var working sync.WaitGroup
	working.Go(func() { p.watch(ctx) })
	for range c.Workers {
		working.Go(func() { p.work(ctx) })
	}
	working.Wait()
	return nil
}

// producer is what the goroutines of a producer share.
type producer struct {
	*child
	next atomic.Int64 // place of the next event
	full atomic.Bool  // the backlog is long enough
}

// watch looks at the backlog.
func (p *producer) watch(ctx context.Context) {
	for sleep(ctx, 200*time.Millisecond) {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		all, err := p.d.Status(call, Topic)
		cancel()
		if err != nil {
			continue
		}
		ready := 0
		for _, q := range all {
			ready += q.Ready
		}
		p.full.Store(ready > p.Backlog)
	}
}

// work dispatches one batch after the other.
func (p *producer) work(ctx context.Context) {
	for ctx.Err() == nil {
		if p.full.Load() {
			sleep(ctx, 50*time.Millisecond)
			continue
		}
		b := p.take()
		must(p.log.Write(ledger.Record{Kind: ledger.Intent, At: p.log.Now(), Event: b.first, Count: uint8(len(b.events))}))
		outcomes := p.dispatch(b.events)
		p.note(ledger.Outcome, b.first, outcomes)
		for i, o := range outcomes {
			p.follow(ctx, b.first+ledger.Event(i), b.events[i], o)
		}
		if last := outcomes[len(outcomes)-1]; last == ledger.Unknown || last == ledger.Refused {
			sleep(ctx, 50*time.Millisecond)
		}
	}
}

// batch is some events that are dispatched together.
type batch struct {
	first  ledger.Event
	events []any
}

// take makes the next events. How many depends on the first.
func (p *producer) take() batch {
	for {
		seq := p.next.Load()
		b := batch{first: ledger.NewEvent(p.Process, int(seq))}
		n := p.Load.Batch(b.first)
		if !p.next.CompareAndSwap(seq, seq+int64(n)) {
			continue
		}
		for i := range n {
			b.events = append(b.events, p.event(b.first+ledger.Event(i)))
		}
		return b
	}
}

var filling = strings.Repeat("fanfare ", 300)

func (p *producer) event(e ledger.Event) any {
	t := p.Load.Trait(e)
	opts := []fanfare.EventOption{t.Priority}
	if t.Named {
		opts = append(opts, fanfare.ID(load.ID(e)))
	}
	if t.Delay > 0 {
		opts = append(opts, fanfare.Delay(t.Delay))
	}
	return fanfare.With(load.Payload{Event: e, Fill: filling[:t.Fill]}, opts...)
}

// dispatch returns the outcome of each event. It is not bound to the context of
// the process, which waits for the answer.
func (p *producer) dispatch(events []any) []uint8 {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	outcomes := make([]uint8, len(events))
	if len(events) == 1 {
		outcomes[0] = outcomeOf(p.d.Dispatch(ctx, Topic, events[0]))
		return outcomes
	}
	err := p.d.DispatchBatch(ctx, Topic, events)
	var each *fanfare.BatchError
	for i := range outcomes {
		if errors.As(err, &each) {
			outcomes[i] = outcomeOf(each.Errs[i])
		} else {
			outcomes[i] = outcomeOf(err)
		}
	}
	return outcomes
}

func outcomeOf(err error) uint8 {
	known, unsure := errors.Is(err, fanfare.ErrDuplicate), errors.Is(err, fanfare.ErrUnknownOutcome)
	switch {
	case err == nil:
		return ledger.Accepted
	case known && unsure:
		return ledger.Known
	case known:
		return ledger.Duplicate
	case unsure:
		return ledger.Unknown
	}
	return ledger.Refused
}

// note writes outcomes down: a record for each row of equal ones.
func (p *producer) note(kind ledger.Kind, first ledger.Event, outcomes []uint8) {
	var records []ledger.Record
	now := p.log.Now()
	for i, o := range outcomes {
		last := len(records) - 1
		if last < 0 || records[last].Value != o {
			records = append(records, ledger.Record{Kind: kind, At: now, Event: first + ledger.Event(i), Count: 1, Value: o})
			continue
		}
		records[last].Count++
	}
	must(p.log.Write(records...))
}

// follow repeats what is safe to repeat: a named event until its outcome is
// known, and some that were accepted, to see whether they are recognised.
func (p *producer) follow(ctx context.Context, e ledger.Event, event any, outcome uint8) {
	if !p.Load.Trait(e).Named {
		return
	}
	const patience = 20
	tries := 0
	for ; outcome == ledger.Unknown || outcome == ledger.Refused; tries++ {
		if tries == patience || !sleep(ctx, time.Duration(tries+1)*10*time.Millisecond) {
			return
		}
		must(p.log.Write(ledger.Record{Kind: ledger.Retry, At: p.log.Now(), Event: e, Count: 1}))
		outcomes := p.dispatch([]any{event})
		p.note(ledger.Outcome, e, outcomes)
		outcome = outcomes[0]
	}
	if tries == 0 && p.Load.Repeated(e) {
		p.note(ledger.Again, e, p.dispatch([]any{event}))
	}
}
