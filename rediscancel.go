package fanfare

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Cancel removes every copy of the message that waits, and what RunAgain keeps
// beside one that runs.
func (b *redisBroker) Cancel(ctx context.Context, topic, id string) (bool, error) {
	return b.reach(ctx, topic, id, cancelScript, (*redisKeys).forCancel)
}

// Reschedule makes every copy that waits due at the given instant, and what
// RunAgain keeps beside one that runs.
func (b *redisBroker) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	return b.reach(ctx, topic, id, rescheduleScript, (*redisKeys).forReschedule, redisInstant(at))
}

// reach runs a script about one message in all groups of its topic.
func (b *redisBroker) reach(ctx context.Context, topic, id string, s *redisScript, pick func(*redisKeys) []string, args ...any) (bool, error) {
	if err := driver.CheckName("topic", topic); err != nil {
		return false, err
	}
	if err := driver.CheckName("id", id); err != nil {
		return false, err
	}
	reply, err := b.onGroups(ctx, redisCall{
		script: s, topic: topic, groups: (*redisTopic).holders, keys: pick, args: append([]any{"", id}, args...),
	})
	if err != nil {
		return false, err
	}
	n, err := redisInt(reply)
	return n == 1, err
}
