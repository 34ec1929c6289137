package sqlqueue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/fanfare-go/fanfare/driver"
)

// statementBytes is how many bytes of bodies one insert sends at most, unless a
// single one has more.
const statementBytes = 1 << 20

// Push stores messages for each group of the topic, all in one transaction or
// statement. Of several, PostgreSQL may store those that it has not seen before
// the others.
func (b *Broker) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	if to, ok := b.single(topic); ok && isPlain(msgs) {
		return b.pushSingle(ctx, to, msgs)
	}
	return b.pushAll(ctx, topic, msgs)
}

// pushAll stores messages in a transaction.
func (b *Broker) pushAll(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	var outcomes []error
	var h head
	err := b.transact(ctx, func(s session) (err error) {
		outcomes, h, err = s.push(ctx, topic, msgs)
		return err
	})
	if err != nil {
		if errors.Is(err, driver.ErrUnknownOutcome) {
			b.wake(ctx, h.receivers()) // a push that repeats it finds duplicates, and wakes nobody
		}
		return nil, err
	}
	b.setSingle(topic, h)
	if slices.Contains(outcomes, nil) {
		b.wake(ctx, h.receivers())
	}
	return outcomes, nil
}

// push stores messages and returns the outcome of each.
func (s session) push(ctx context.Context, topic string, msgs []driver.Message) ([]error, head, error) {
	if err := driver.CheckName("topic", topic); err != nil {
		return nil, head{}, err
	}
	h, err := s.lockHead(ctx, topic, s.shared)
	if err != nil {
		return nil, h, err
	}
	if len(h.receivers()) == 0 {
		if _, err := s.ensure(ctx, &h, driver.Queue{Topic: topic, Group: driver.DefaultGroup}); err != nil {
			return nil, h, err
		}
	}
	outcomes := make([]error, len(msgs))
	for _, step := range pushSteps(msgs, outcomes) {
		fresh := make([]*message, len(step))
		for n, i := range step {
			fresh[n] = newMessage(msgs[i], h.now)
		}
		if msgs[step[0]].Conflict == driver.KeepFirst {
			err = s.store(ctx, h, fresh, false)
		} else {
			err = s.merge(ctx, h, msgs[step[0]].Conflict, fresh[0])
		}
		if err != nil {
			return nil, h, err
		}
		for n, i := range step {
			if !fresh[n].accepted {
				outcomes[i] = fmt.Errorf("sqlqueue: push %q: %w", msgs[i].ID, driver.ErrDuplicate)
			}
		}
	}
	return outcomes, h, nil
}

// receivers returns the rows that a message is stored for, DefaultGroup if no
// group is subscribed.
func (h head) receivers() []queueRow {
	var all []queueRow
	for _, q := range h.queues {
		if q.subscribed {
			all = append(all, q)
		}
	}
	if q, ok := h.find(driver.DefaultGroup); ok && len(all) == 0 {
		all = append(all, q)
	}
	return all
}

// message is what is to be stored.
type message struct {
	id       string
	lane     int64
	due      int64
	priority int64
	body     []byte
	token    int64 // nobody's: it tells what this push stored
	accepted bool
}

func newMessage(m driver.Message, now int64) *message {
	return &message{
		id: m.ID, lane: laneOf(m.Priority), due: dueTime(now, m.Delay, m.At),
		priority: int64(m.Priority), body: append([]byte{}, m.Body...), token: newToken(),
	}
}

// newToken returns a number that nobody guesses: it is greater than zero, which
// stands for no token.
func newToken() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.LittleEndian.Uint64(b[:])>>1) | 1
}

// pushSteps sorts messages, by their indexes, into steps: up to 500 with
// KeepFirst and different ids, or one with another mode. What no step has, has
// its outcome.
func pushSteps(msgs []driver.Message, outcomes []error) [][]int {
	var steps [][]int
	var ids map[string]bool // of the last step, if that may grow
	size := 0
	for i, m := range msgs {
		if outcomes[i] = checkMessage(m); outcomes[i] != nil {
			continue
		}
		if ids == nil || m.Conflict != driver.KeepFirst || ids[m.ID] || len(ids) == batch || size+len(m.Body) > statementBytes {
			steps = append(steps, nil)
			ids, size = map[string]bool{}, 0
		}
		last := len(steps) - 1
		steps[last] = append(steps[last], i)
		ids[m.ID] = true
		size += len(m.Body)
		if m.Conflict != driver.KeepFirst {
			ids = nil
		}
	}
	return steps
}

func checkMessage(m driver.Message) error {
	if err := driver.CheckName("id", m.ID); err != nil {
		return fmt.Errorf("sqlqueue: %w", err)
	}
	switch {
	case m.Priority < driver.Low || m.Priority > driver.High:
		return fmt.Errorf("sqlqueue: priority %d: %w", m.Priority, driver.ErrInvalid)
	case m.Conflict > driver.RunAgain:
		return fmt.Errorf("sqlqueue: conflict %d: %w", m.Conflict, driver.ErrInvalid)
	case len(m.Body) > maxBody:
		return fmt.Errorf("sqlqueue: body of %d bytes, want at most %d: %w", len(m.Body), maxBody, driver.ErrTooLarge)
	}
	return nil
}
