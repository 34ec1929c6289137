package fanfare

import (
	"context"
	"errors"
	"fmt"

	"github.com/fanfare-go/fanfare/driver"
)

// redisModes are the words of update.lua for conflicts other than KeepFirst.
var redisModes = map[driver.Conflict]string{
	driver.Replace:  "replace",
	driver.PushBack: "pushback",
	driver.RunAgain: "runagain",
}

// Push stores messages for each group of the topic, in steps of up to 500. Where
// one of several steps fails, its error is the outcome of its messages, and those
// after it are not sent.
func (b *redisBroker) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	if err := driver.CheckName("topic", topic); err != nil {
		return nil, err
	}
	outcomes := make([]error, len(msgs))
	steps := b.pushSteps(msgs, outcomes)
	for n, step := range steps {
		err := b.pushStep(ctx, topic, msgs, step, outcomes)
		if err == nil {
			continue
		}
		if len(steps) == 1 {
			return nil, err
		}
		for _, i := range step {
			outcomes[i] = err
		}
		unsent := fmt.Errorf("redis: not sent after a failure: %w", driver.ErrUnavailable)
		for _, later := range steps[n+1:] {
			for _, i := range later {
				outcomes[i] = unsent
			}
		}
		break
	}
	return outcomes, nil
}

// pushSteps sorts the messages, by their indexes, into steps that one script
// call each can take. What no step takes has its outcome already.
func (b *redisBroker) pushSteps(msgs []driver.Message, outcomes []error) [][]int {
	var steps [][]int
	var ids map[string]bool // of the last step
	size, keepFirst := 0, false
	for i, m := range msgs {
		if outcomes[i] = b.checkMessage(m); outcomes[i] != nil {
			continue
		}
		simple := m.Conflict == driver.KeepFirst
		last := len(steps) - 1
		if last < 0 || simple != keepFirst || len(steps[last]) == redisBatch || size+len(m.Body) > redisBatchBytes {
			steps, ids = append(steps, nil), map[string]bool{}
			size, keepFirst, last = 0, simple, last+1
		}
		if simple && ids[m.ID] {
			outcomes[i] = redisDuplicate(m.ID)
			continue
		}
		ids[m.ID] = true
		size += len(m.Body)
		steps[last] = append(steps[last], i)
	}
	return steps
}

func (b *redisBroker) checkMessage(m driver.Message) error {
	if err := driver.CheckName("id", m.ID); err != nil {
		return err
	}
	switch {
	case m.Priority < driver.Low || m.Priority > driver.High:
		return fmt.Errorf("redis: priority %d: %w", m.Priority, driver.ErrInvalid)
	case m.Conflict > driver.RunAgain:
		return fmt.Errorf("redis: conflict %d: %w", m.Conflict, driver.ErrInvalid)
	case len(m.Body) > b.maxBody:
		return fmt.Errorf("redis: body of %d bytes, want at most %d: %w", len(m.Body), b.maxBody, driver.ErrTooLarge)
	}
	return nil
}

func redisDuplicate(id string) error {
	return fmt.Errorf("redis: push %q: %w", id, driver.ErrDuplicate)
}

// pushStep stores the messages of one step. It tries again once if the server
// does not answer, and tells the script, which then does not mistake what the
// first try stored for another message.
func (b *redisBroker) pushStep(ctx context.Context, topic string, msgs []driver.Message, step []int, outcomes []error) error {
	call := pushCall(topic, msgs, step)
	reply, err := b.onGroups(ctx, call)
	if isRedisSilence(err) && ctx.Err() == nil {
		lost := errors.Is(err, driver.ErrUnknownOutcome)
		if lost {
			call.args[1] = "1"
		}
		reply, err = b.onGroups(ctx, call)
		if err != nil && lost && !errors.Is(err, driver.ErrUnknownOutcome) {
			err = fmt.Errorf("%w: %v", driver.ErrUnknownOutcome, err)
		}
	}
	if err != nil {
		return redisInTime(ctx, err)
	}
	accepted, err := redisInts(reply, len(step))
	if err != nil {
		return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
	}
	for n, i := range step {
		switch accepted[n] {
		case 0:
			outcomes[i] = redisDuplicate(msgs[i].ID)
		case 2:
			outcomes[i] = fmt.Errorf("redis: push %q: %w: %w", msgs[i].ID, driver.ErrUnknownOutcome, driver.ErrDuplicate)
		}
	}
	return nil
}

// pushCall returns the call that stores the messages of a step. It copies their
// bodies: a client that gives up on a command may still be sending it.
func pushCall(topic string, msgs []driver.Message, step []int) redisCall {
	call := redisCall{
		script: pushScript, topic: topic, writes: true,
		groups: (*redisTopic).receivers, keys: (*redisKeys).forPush, idle: (*redisKeys).forID,
	}
	simple := msgs[step[0]].Conflict == driver.KeepFirst
	if !simple {
		call.script, call.keys, call.idle = updateScript, (*redisKeys).forUpdate, nil
	}
	call.args = make([]any, 0, 2+6*len(step))
	call.args = append(call.args, "", "0")
	for _, i := range step {
		m := msgs[i]
		call.args = append(call.args, m.ID, redisLane(m.Priority), redisMicros(m.Delay), redisInstant(m.At), string(m.Body))
		if !simple {
			call.args = append(call.args, redisModes[m.Conflict])
		}
	}
	return call
}

// isRedisSilence reports that the server did not answer.
func isRedisSilence(err error) bool {
	var reply RedisError
	return !errors.Is(err, errFewReplicas) && (errors.Is(err, driver.ErrUnavailable) || errors.Is(err, driver.ErrUnknownOutcome)) && !errors.As(err, &reply)
}
