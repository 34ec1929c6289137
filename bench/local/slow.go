package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

const (
	slowWorkers = 200
	slowness    = time.Millisecond
)

// slowWork is measured against goroutines that do nothing else, since a timer of
// 1 ms takes longer: an idle Go program sleeps in whole milliseconds.
var slowWork = trial.Work{
	Name: "slow", Title: "handlers of 1 ms, never more than 200 at once",
	Figures: []trial.Figure{{Name: "rate", Unit: "events/s", More: true, Goals: []trial.Goal{{Peer: "limit", Bound: 0.95}}}},
}

// slowHandler waits, and knows how many of it do.
type slowHandler struct {
	running, over atomic.Int64
}

func (h *slowHandler) handle(event) {
	if h.running.Add(1) > slowWorkers {
		h.over.Add(1)
	}
	<-time.After(slowness)
	h.running.Add(-1)
}

// rate does n events and returns how many that is in a second.
func (h *slowHandler) rate(n int, run func() error) (trial.Sample, error) {
	begin := time.Now()
	if err := run(); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	if over := h.over.Load(); over > 0 {
		return nil, fmt.Errorf("%d times more than %d handlers ran", over, slowWorkers)
	}
	return trial.Sample{"rate": float64(n) / took.Seconds()}, nil
}

const slowEvents = 200_000

// slowCase measures a peer, once all its workers were needed.
func slowCase(open opener) func(context.Context, *trial.Env) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env) (sample trial.Sample, err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		setup := setup{topics: 1, handlers: 1, workers: slowWorkers}
		s, h := newStream(setup, 1), &slowHandler{}
		b, err := open(setup, func(topic, i int) func(event) {
			return func(e event) {
				h.handle(e)
				s.tallies[topic][i].handle(e)
			}
		})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.close(), s.check()) }()
		if err := s.run(ctx, b, 10*step); err != nil {
			return nil, err
		}
		n := s.round(env.N(slowEvents))
		return h.rate(n, func() error { return s.run(ctx, b, n) })
	}
}

// slowLimit calls the handler in as many goroutines as may.
func slowLimit(_ context.Context, env *trial.Env) (trial.Sample, error) {
	h, each := &slowHandler{}, max(1, env.N(slowEvents)/slowWorkers)
	return h.rate(each*slowWorkers, func() error {
		var all sync.WaitGroup
		for range slowWorkers {
			all.Go(func() {
				for i := range each {
					h.handle(event{i, body})
				}
			})
		}
		all.Wait()
		return nil
	})
}
