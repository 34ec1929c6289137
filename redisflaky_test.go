package fanfare

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// redisFault is what befalls one command, or one pipeline.
type redisFault int

const (
	faultless  redisFault = iota
	unsent                // nothing is sent
	answerless            // it is carried out, and its answer is lost
	slow                  // it is carried out some time later
)

func (f redisFault) String() string {
	return [...]string{"faultless", "unsent", "unanswered", "slow"}[f]
}

// flakyClient is a RedisClient whose commands fail as plan says, which is given the
// number of each, from 1, and what it runs.
type flakyClient struct {
	RedisClient
	plan func(n int, cmds [][]any) redisFault

	mu sync.Mutex
	n  int // commands so far
}

func (c *flakyClient) Do(ctx context.Context, args ...any) (any, error) {
	var reply any
	err := c.suffer(ctx, [][]any{args}, func() (err error) {
		reply, err = c.RedisClient.Do(ctx, args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

func (c *flakyClient) Pipeline(ctx context.Context, cmds [][]any) ([]any, error) {
	var replies []any
	err := c.suffer(ctx, cmds, func() (err error) {
		replies, err = c.RedisClient.Pipeline(ctx, cmds)
		return err
	})
	if err != nil {
		return nil, err
	}
	return replies, nil
}

// suffer carries out a call with the fault that is planned for it.
func (c *flakyClient) suffer(ctx context.Context, cmds [][]any, call func() error) error {
	c.mu.Lock()
	c.n++
	fault := c.plan(c.n, cmds)
	c.mu.Unlock()
	switch fault {
	case unsent:
		return fmt.Errorf("%w: as planned", driver.ErrUnavailable)
	case answerless:
		_ = call()
		return io.ErrUnexpectedEOF
	case slow:
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", driver.ErrUnavailable, ctx.Err())
		}
	}
	return call()
}

// sent returns how many commands there were.
func (c *flakyClient) sent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// at plans one fault, for the command of that number.
func at(number int, fault redisFault) func(int, [][]any) redisFault {
	return func(n int, _ [][]any) redisFault {
		if n == number {
			return fault
		}
		return faultless
	}
}

// nowAndThen plans each fault for one command in 20, by a seed.
func nowAndThen(seed uint64) func(int, [][]any) redisFault {
	r := rand.New(rand.NewPCG(seed, seed))
	return func(int, [][]any) redisFault {
		if n := r.IntN(20); n < 3 {
			return redisFault(n + 1)
		}
		return faultless
	}
}
