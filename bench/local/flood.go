package local

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// patience is how long a work may take. Then something was lost.
const patience = time.Minute

// floodWork is to dispatch and handle as much as possible.
func floodWork(name, title string, goals []trial.Goal) trial.Work {
	return trial.Work{Name: name, Title: title, Figures: []trial.Figure{
		{Name: "time", Unit: "ns/event", Goals: goals},
		{Name: "memory", Unit: "B/event", Goals: []trial.Goal{{Bound: 0.05}}},
		{Name: "allocations", Unit: "per event", Goals: []trial.Goal{{Bound: 0.05}}},
	}}
}

// flood is as many events as a peer takes.
type flood struct {
	setup
	producers int
	events    int // usually
}

// measure has producers dispatch in turn to all topics, and waits until all is
// handled. It begins with a tenth of that, so that what a peer makes once is
// made, and measures with a heap that was collected.
func (f flood) measure(open opener) func(context.Context, *trial.Env) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env) (sample trial.Sample, err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		s := newStream(f.setup, f.producers)
		b, err := open(f.setup, func(topic, i int) func(event) { return s.tallies[topic][i].handle })
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.close(), s.check()) }()
		n := s.round(env.N(f.events))
		if err := s.run(ctx, b, s.round(n/10)); err != nil {
			return nil, err
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		begin := time.Now()
		if err := s.run(ctx, b, n); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		return trial.Sample{
			"time":        float64(took.Nanoseconds()) / float64(n),
			"memory":      float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
			"allocations": float64(after.Mallocs-before.Mallocs) / float64(n),
		}, nil
	}
}
