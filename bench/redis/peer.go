package redis

import (
	"context"
	"errors"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// handlers is how many events each process handles at once.
const handlers = 10

// queue is what a peer brings to a work: one topic on one server. It is closed by
// the end of its process.
type queue interface {
	// dispatch stores one event. When it returns the server has it.
	dispatch(ctx context.Context, body []byte) error
	// consume starts as many handlers as the constant says, each of which calls
	// handle, and returns. What was handled is acknowledged.
	consume(ctx context.Context, handle func(body []byte)) error
	// waiting counts the events that the server has and that nobody handles.
	waiting(ctx context.Context) (int, error)
}

// batcher is a queue that stores many events at once.
type batcher interface {
	dispatchBatch(ctx context.Context, bodies [][]byte) error
}

// scheduler is a queue that stores events for later.
type scheduler interface {
	dispatchAt(ctx context.Context, body []byte, due time.Time) error
}

// peer is a library with its settings.
type peer struct {
	name string
	open func(ctx context.Context, url string) (queue, error)
}

var (
	ours      = peer{trial.Fanfare, openFanfare}
	asynq     = peer{"asynq", openAsynq}
	asynqBest = peer{"asynq-best", openAsynqBest}
	work      = peer{"work", openWork}
	stream    = peer{"redisstream", openStream}
	limit     = peer{"limit", openLimit}
)

// cases lets each peer do a work.
func cases(name string, do func(context.Context, *trial.Env, queue) (trial.Sample, error), peers ...peer) []trial.Case {
	var list []trial.Case
	for _, p := range peers {
		list = append(list, trial.Case{Work: name, Peer: p.name, Run: func(ctx context.Context, env *trial.Env) (trial.Sample, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, tooLong, errTooLong)
			defer cancel()
			q, err := p.open(ctx, env.URL)
			if err != nil {
				return nil, err
			}
			return do(ctx, env, q)
		}})
	}
	return list
}

// tooLong is after how long a run has failed.
const tooLong = 2 * time.Minute

var errTooLong = errors.New("the run takes too long")
