package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// scheduling is a peer that keeps events until they are due.
type scheduling struct {
	name string
	open func(capacity int, handle func(event)) (scheduler, error)
}

// scheduler is such a peer, set up for a number of events with one handler.
type scheduler interface {
	schedule(e event, delay time.Duration) error
	// withdraw ends it and returns how many events were not due yet.
	withdraw() (int, error)
}

var pendingWork = trial.Work{
	Name: "pending", Title: "schedule an event while 1,000,000 are pending",
	Figures: []trial.Figure{
		{Name: "time", Unit: "ns/event", Goals: []trial.Goal{{Peer: "afterfunc", Bound: 1}}},
		{Name: "time if due before all others", Unit: "ns/event"},
		{Name: "memory", Unit: "B/pending event", Goals: []trial.Goal{{Bound: 100}}},
	},
}

// pendingCase schedules many events for some time of the next hours. Then it
// measures with 100,000 more of that sort, and with 100,000 that are due in 3 to
// 4 s and are handled.
func pendingCase(open func(int, func(event)) (scheduler, error)) func(context.Context, *trial.Env) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env) (trial.Sample, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		before, more := env.N(1_000_000), max(1, env.N(100_000)/step)*step
		t := newTally()
		s, err := open(before+2*more, t.handle)
		if err != nil {
			return nil, err
		}
		heap := settledHeap()
		_, err = scheduleWithin(s, before, time.Hour, 3*time.Hour)
		memory := settledHeap() - heap
		alike, err2 := scheduleWithin(s, more, time.Hour, 3*time.Hour)
		sooner, err3 := scheduleWithin(s, more, 3*time.Second, 4*time.Second)
		if err := errors.Join(err, err2, err3); err != nil {
			return nil, err
		}
		err = t.wait(ctx, more)
		left, stopped := s.withdraw()
		if err := errors.Join(err, stopped); err != nil {
			return nil, err
		}
		if n := t.n.Load(); left != before+more || n != int64(more) {
			return nil, fmt.Errorf("%d of %d events were handled, and %d of %d were left", n, more, left, before+more)
		}
		return trial.Sample{
			"time":                          float64(alike.Nanoseconds()) / float64(more),
			"time if due before all others": float64(sooner.Nanoseconds()) / float64(more),
			"memory":                        float64(memory) / float64(before),
		}, nil
	}
}

// scheduleWithin schedules n events after delays of from to to, and returns how
// long that took.
func scheduleWithin(s scheduler, n int, from, to time.Duration) (time.Duration, error) {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	delays := make([]time.Duration, n)
	for i := range delays {
		delays[i] = from + time.Duration(random.Int64N(int64(to-from)))
	}
	begin := time.Now()
	for i, delay := range delays {
		if err := s.schedule(event{i, body}, delay); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// settledHeap returns how many bytes are in use after a collection.
func settledHeap() int64 {
	runtime.GC()
	runtime.GC() // what a pool had kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

var latenessWork = trial.Work{
	Name: "lateness", Title: "10,000 delayed events due a second, until the handler starts",
	Figures: []trial.Figure{
		{Name: "p50", Unit: "µs"},
		{Name: "p99", Unit: "µs", Goals: []trial.Goal{{Bound: 1000}, {Peer: "afterfunc", Bound: 1.1}}},
	},
}

// latenessCase schedules events of one second, in a random order, half a second
// before.
func latenessCase(open func(int, func(event)) (scheduler, error)) func(context.Context, *trial.Env) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env) (trial.Sample, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		n := max(1, env.N(10_000)/step) * step
		due := make([]time.Time, n)
		late := make([]time.Duration, n)
		t := newTally()
		s, err := open(n, func(e event) {
			late[e.number] = time.Since(due[e.number])
			t.handle(e)
		})
		if err != nil {
			return nil, err
		}
		begin := time.Now().Add(500 * time.Millisecond)
		for _, i := range rand.Perm(n) {
			now := time.Now()
			due[i] = begin.Add(time.Duration(i) * 100 * time.Microsecond)
			if err := s.schedule(event{i, body}, due[i].Sub(now)); err != nil {
				return nil, err
			}
		}
		err = t.wait(ctx, n)
		left, stopped := s.withdraw()
		if err := errors.Join(err, stopped); err != nil {
			return nil, err
		}
		if handled := t.n.Load(); left != 0 || handled != int64(n) {
			return nil, fmt.Errorf("%d of %d events were handled, and %d were left", handled, n, left)
		}
		sample := trial.Sample{}
		sample.Spread(late, time.Microsecond)
		return sample, nil
	}
}
