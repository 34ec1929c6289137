package sqlqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Settle ends claims, each on its own. It does not wait for messages that
// others have locked, as a transaction of the program does that acks one,
// before all others are settled.
func (b *Broker) Settle(ctx context.Context, q driver.Queue, all []driver.Settlement) ([]error, error) {
	if err := checkQueue(q); err != nil {
		return nil, err
	}
	outcomes := make([]error, len(all))
	left := make([]int, len(all)) // indexes of what is to be done
	for i := range left {
		left[i] = i
	}
	if b.dialect == Postgres && areAcks(all) {
		var err error
		if left, err = b.ack(ctx, q, all); err != nil {
			return nil, err
		}
	}
	waits := false
	var got settled
	for try := 1; len(left) > 0; try++ {
		now, rest := left[:min(len(left), batch)], left[min(len(left), batch):]
		err := b.transact(ctx, func(s session) (err error) {
			got, err = s.settle(ctx, q, all, now, outcomes, s.skip)
			return err
		})
		if err != nil {
			return nil, err
		}
		waits = waits || got.waits
		left = append(rest, got.locked...)
		if len(got.locked) > 0 && len(rest) == 0 && !pause(ctx, min(time.Duration(try)*time.Millisecond, 50*time.Millisecond)) {
			return nil, b.failure(ctx, ctx.Err())
		}
	}
	b.trimSometimes(ctx, q, len(all))
	if waits {
		b.wake(ctx, []queueRow{got.queue})
	}
	return outcomes, nil
}

// settled is what became of settlements, besides their outcomes.
type settled struct {
	queue  queueRow
	waits  bool  // something may wait again
	locked []int // the indexes of those whose messages are locked
}

// settle carries out those settlements whose indexes are given, and writes down
// their outcomes.
func (s session) settle(ctx context.Context, q driver.Queue, all []driver.Settlement, indexes []int, outcomes []error, lock string) (settled, error) {
	h, err := s.head(ctx, q.Topic)
	if err != nil {
		return settled{}, err
	}
	queue, _ := h.find(q.Group)
	got := settled{queue: queue}
	ids := make([]string, len(indexes))
	for n, i := range indexes {
		ids[n] = all[i].ID
	}
	rows, err := s.claims(ctx, queue.id, ids, lock)
	if err != nil {
		return got, err
	}
	var acked, refused []string
	var open []int
	for _, i := range indexes {
		one, row := all[i], rows[all[i].ID]
		outcomes[i] = nil
		switch {
		case one.Verb > driver.Bury:
			outcomes[i] = fmt.Errorf("sqlqueue: verb %d: %w", one.Verb, driver.ErrInvalid)
		case !row.has(one.Token):
			open, refused = append(open, i), append(refused, one.ID)
		default:
			row.token, row.ended = 0, row.token
			got.waits = got.waits || one.Verb != driver.Ack || row.again != 0
			if one.Verb == driver.Ack && row.again == 0 {
				acked = append(acked, one.ID)
			} else if err := s.end(ctx, h.now, queue.id, one, row); err != nil {
				return got, err
			}
		}
	}
	if len(acked) > 0 {
		if err := s.complete(ctx, queue.id, acked, h.now); err != nil {
			return got, err
		}
	}
	if len(open) == 0 {
		return got, nil
	}
	got.locked, err = s.refuse(ctx, queue.id, all, open, refused, outcomes)
	return got, err
}

// claimRow is what a settlement has to know of a message.
type claimRow struct {
	token, ended int64
	again        int64
}

// claims returns the rows of ids, with a lock if one is given.
func (s session) claims(ctx context.Context, queue int64, ids []string, lock string) (map[string]*claimRow, error) {
	found := map[string]*claimRow{}
	list, keys := among(blobs(ids))
	err := s.each(ctx, func(scan func(...any) error) error {
		var id []byte
		var r claimRow
		if err := scan(&id, &r.token, &r.ended, &r.again); err != nil {
			return err
		}
		found[string(id)] = &r
		return nil
	}, "SELECT id, token, ended, again FROM {events} WHERE queue_id = ? AND id IN "+list+" ORDER BY id"+lock, parameters(queue, keys)...)
	return found, err
}

// refuse says what becomes of settlements whose token was not found to be the
// valid one. It returns the indexes of those for which it is, and whose message
// is locked.
func (s session) refuse(ctx context.Context, queue int64, all []driver.Settlement, open []int, ids []string, outcomes []error) ([]int, error) {
	rows, err := s.claims(ctx, queue, ids, s.shared)
	if err != nil {
		return nil, err
	}
	dead, err := s.buriedBy(ctx, queue, ids)
	if err != nil {
		return nil, err
	}
	var locked []int
	for _, i := range open {
		token, row := parseToken(all[i].Token), rows[all[i].ID]
		switch {
		case row.has(all[i].Token):
			locked = append(locked, i)
		case token != 0 && (row != nil && row.ended == token || dead[all[i].ID] == token):
		default:
			outcomes[i] = fmt.Errorf("sqlqueue: settle %q: %w", all[i].ID, driver.ErrLeaseLost)
		}
	}
	return locked, nil
}

// buriedBy returns the tokens of the claims that buried the dead letters of ids.
func (s session) buriedBy(ctx context.Context, queue int64, ids []string) (map[string]int64, error) {
	tokens := map[string]int64{}
	list, keys := among(blobs(ids))
	err := s.each(ctx, func(scan func(...any) error) error {
		var id []byte
		var token int64
		err := scan(&id, &token)
		tokens[string(id)] = token
		return err
	}, "SELECT id, ended FROM {dead} WHERE queue_id = ? AND id IN "+list, parameters(queue, keys)...)
	return tokens, err
}

// parseToken returns the number of a token, or 0 if it is none of ours.
func parseToken(token string) int64 {
	n, err := strconv.ParseInt(token, 36, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 36) != token {
		return 0
	}
	return n
}

// end carries out one settlement of a claim that is valid.
func (s session) end(ctx context.Context, now, queue int64, one driver.Settlement, row *claimRow) error {
	id, due := blob(one.ID), dueTime(now, one.Delay, one.At)
	switch one.Verb {
	case driver.Retry:
		return s.giveBack(ctx, queue, id, due, ", failures = failures + 1, last_error = CASE WHEN ? = 0 THEN last_error ELSE ? END",
			len(one.Error), blob(cut(one.Error)))
	case driver.Release:
		return s.giveBack(ctx, queue, id, due, ", attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END")
	case driver.Bury:
		if err := s.bury(ctx, now, queue, id, one); err != nil {
			return err
		}
	}
	if err := s.complete(ctx, queue, []string{one.ID}, now); err != nil || row.again == 0 {
		return err
	}
	return s.follow(ctx, queue, one.ID)
}

// giveBack lets a message wait again, and changes what else is given.
func (s session) giveBack(ctx context.Context, queue int64, id []byte, due int64, changes string, args ...any) error {
	_, err := s.exec(ctx, "UPDATE {events} SET line = queue_id * 8 + 1 - priority, at = ?, due = ?, ended = token, token = 0"+changes+" WHERE queue_id = ? AND id = ?",
		parameters(due, due, args, queue, id)...)
	return err
}

// bury copies a message to the dead letters, in the place of an older one of its id.
func (s session) bury(ctx context.Context, now, queue int64, id []byte, one driver.Settlement) error {
	if _, err := s.exec(ctx, "DELETE FROM {dead} WHERE queue_id = ? AND id = ?", queue, id); err != nil {
		return err
	}
	_, err := s.exec(ctx, "INSERT INTO {dead} (queue_id, id, line, at, priority, ended, fence, attempts, failures, reason, last_error, body)"+
		" SELECT queue_id, id, queue_id * 8 + 5, at, priority, token, fence, attempts, failures + 1, last_error, last_error, body FROM {events} WHERE queue_id = ? AND id = ?", queue, id)
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "UPDATE {dead} SET at = ?, reason = ? WHERE queue_id = ? AND id = ?", now, blob(cut(one.Reason)), queue, id)
	if err != nil || one.Error == "" {
		return err
	}
	_, err = s.exec(ctx, "UPDATE {dead} SET last_error = ? WHERE queue_id = ? AND id = ?", blob(cut(one.Error)), queue, id)
	return err
}

// complete ends messages: of each remains its id, for the window.
func (s session) complete(ctx context.Context, queue int64, ids []string, now int64) error {
	list, keys := among(blobs(ids))
	_, err := s.exec(ctx, "UPDATE {events} SET line = ?, at = ?, ended = token, token = 0, last_error = ?, body = ? WHERE queue_id = ? AND id IN "+list,
		parameters(lineOf(queue, laneEnded), now+micros(s.window), []byte{}, []byte{}, queue, keys)...)
	return err
}

// follow lets wait what RunAgain kept until the message of its id ended.
func (s session) follow(ctx context.Context, queue int64, id string) error {
	var kept []*message
	err := s.each(ctx, func(scan func(...any) error) error {
		m := &message{id: id}
		err := scan(&m.due, &m.priority, &m.body)
		m.lane, m.body = laneOf(driver.Priority(m.priority)), notNil(m.body)
		kept = append(kept, m)
		return err
	}, "SELECT due, priority, body FROM {again} WHERE queue_id = ? AND id = ?", queue, blob(id))
	if err != nil {
		return err
	}
	for _, m := range kept {
		if _, err := s.revive(ctx, queue, m); err != nil {
			return err
		}
	}
	_, err = s.exec(ctx, "DELETE FROM {again} WHERE queue_id = ? AND id = ?", queue, blob(id))
	return err
}

// maxText is how much of an error or a reason is kept, in bytes.
const maxText = 4 << 10

func cut(text string) string { return text[:min(len(text), maxText)] }
