package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

var loneWork = trial.Work{
	Name: "lone", Title: "an event every 200 µs, from dispatch until its handler starts",
	Figures: []trial.Figure{
		{Name: "p50", Unit: "µs", Goals: []trial.Goal{{Bound: 5}}},
		{Name: "p99", Unit: "µs", Goals: []trial.Goal{{Bound: 100}}},
	},
}

// lone is how long nothing happens before an event.
const lone = 200 * time.Microsecond

// loneCase dispatches to an idle peer, again and again. The first tenth is not
// measured.
func loneCase(open opener) func(context.Context, *trial.Env) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env) (sample trial.Sample, err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		started := make(chan time.Time, 1)
		b, err := open(setup{topics: 1, handlers: 1, workers: 2}, func(int, int) func(event) {
			return func(event) { started <- time.Now() }
		})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.close()) }()
		n := env.N(5000)
		warm := n/10 + 1
		took := make([]time.Duration, 0, n+warm)
		for i := range n + warm {
			<-time.After(lone)
			begin := time.Now()
			if err := b.dispatch(0, event{number: i, body: body}); err != nil {
				return nil, err
			}
			select {
			case at := <-started:
				took = append(took, at.Sub(begin))
			case <-ctx.Done():
				return nil, fmt.Errorf("event %d did not arrive: %w", i, ctx.Err())
			}
		}
		sample = trial.Sample{}
		sample.Spread(took[warm:], time.Microsecond)
		return sample, nil
	}
}
