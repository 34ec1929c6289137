package fanfare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// errFewReplicas reports that the server has what was pushed, and too few
// replicas confirmed it. To repeat the push at once would not help.
var errFewReplicas = errors.New("too few replicas")

// runReplicated runs a script that stores messages, and has the server wait for
// its replicas on the same connection, in the same round trip: WAIT covers all
// that the server has written by then, so also what an earlier, equal push stored.
func (b *redisBroker) runReplicated(ctx context.Context, s *redisScript, keys []string, args ...any) (any, error) {
	cmd := s.command(keys, args)
	patience := b.patienceWith(ctx)
	wait := []any{"WAIT", b.replicas, patience.Milliseconds()}
	replies, err := b.pipeline(ctx, [][]any{cmd, wait}, true)
	if err == nil {
		if e, ok := replies[0].(RedisError); ok && isRedisNoScript(e) {
			cmd[0], cmd[1] = "EVAL", s.source
			replies, err = b.pipeline(ctx, [][]any{cmd, wait}, true)
		}
	}
	if err != nil {
		return nil, err
	}
	if e, ok := replies[0].(RedisError); ok {
		return nil, redisInTime(ctx, redisRefusal(string(e)))
	}
	if replies[0] == nil { // nothing was stored
		return nil, nil
	}
	if err := b.checkReplicas(replies[1], patience); err != nil {
		return nil, fmt.Errorf("redis: %w: %w", driver.ErrUnknownOutcome, err)
	}
	return replies[0], nil
}

// checkReplicas reads the reply of WAIT.
func (b *redisBroker) checkReplicas(reply any, patience time.Duration) error {
	if e, ok := reply.(RedisError); ok {
		return fmt.Errorf("%w: stored, and WAIT is refused (%s); the user needs +wait", errFewReplicas, redisRefusalText(e))
	}
	n, err := redisInt(reply)
	if err != nil {
		return fmt.Errorf("%w: stored: %w", errFewReplicas, err)
	}
	if n < int64(b.replicas) {
		return fmt.Errorf("%w: stored, and confirmed by %d of %d replicas within %v", errFewReplicas, n, b.replicas, patience)
	}
	return nil
}

// patienceWith is how long the server is to wait, in whole milliseconds: so that
// its answer arrives by the end of ctx, also where it is as late as Redis is with
// what times out.
func (b *redisBroker) patienceWith(ctx context.Context) time.Duration {
	patience := b.patience
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		patience = min(patience, left-max(left/4, redisLate))
	}
	return max(patience.Truncate(time.Millisecond), time.Millisecond)
}

// redisLate is how late Redis may be to end a command that blocks: it looks ten
// times a second, and the answer has its way.
const redisLate = 120 * time.Millisecond
