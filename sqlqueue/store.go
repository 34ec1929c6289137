package sqlqueue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

// storeTries bounds how often an insert is repeated because what it met was
// gone when that was looked at.
const storeTries = 5

// store inserts new messages, each for all receivers or for none, and marks
// those that were accepted. An id that lives in any queue of the topic is
// refused, and one that ended within the window too, unless again is set.
//
// The unique key of events decides between pushes of one id at the same time:
// whoever inserts second waits for the first, and then meets its row.
func (s session) store(ctx context.Context, h head, fresh []*message, again bool) error {
	receivers := h.receivers()
	left := slices.Clone(fresh)
	slices.SortFunc(left, func(a, b *message) int { return cmp.Compare(a.id, b.id) }) // all lock in one order
	for range storeTries {
		inserted, err := s.insertEvents(ctx, receivers, left)
		if err != nil {
			return err
		}
		if inserted == int64(len(receivers)*len(left)) && h.groups() == len(receivers) {
			for _, m := range left {
				m.accepted = true
			}
			return nil
		}
		met, err := s.meet(ctx, h, left)
		if err != nil {
			return err
		}
		var open []*message
		for _, m := range left {
			decided, err := s.decide(ctx, h, m, met[m.id], again)
			if err != nil {
				return err
			}
			if !decided {
				open = append(open, m)
			}
		}
		if left = open; len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("id %q keeps changing: %w", left[0].id, driver.ErrUnavailable)
}

// groups counts the rows of groups.
func (h head) groups() int {
	n := len(h.queues)
	if _, ok := h.find(""); ok {
		n--
	}
	return n
}

// insertEvents inserts a copy of each message for each queue, where there is no
// row of its id, and returns how many.
func (s session) insertEvents(ctx context.Context, queues []queueRow, msgs []*message) (int64, error) {
	const columns = "(queue_id, id, line, at, due, priority, token, ended, fence, attempts, failures, again, last_error, body)"
	const values = "(?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, ?)"
	var args []any
	sum, rows, size := int64(0), 0, 0
	insert := func() error {
		text := s.insert + " INTO {events} " + columns + " VALUES " + values + strings.Repeat(", "+values, rows-1) + s.ignore
		inserted, err := s.exec(ctx, text, args...)
		sum += inserted
		args, rows, size = nil, 0, 0
		return err
	}
	for _, m := range msgs {
		for _, q := range queues {
			if rows == batch || rows > 0 && size+len(m.body) > statementBytes {
				if err := insert(); err != nil {
					return 0, err
				}
			}
			args = append(args, q.id, blob(m.id), lineOf(q.id, m.lane), m.due, m.due, m.priority, m.token, []byte{}, m.body)
			rows++
			size += len(m.body)
		}
	}
	if rows > 0 {
		if err := insert(); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// eventRow is what a push has to know of a copy that is there.
type eventRow struct {
	queue int64
	lane  int64
	at    int64
	token int64
	again int64
}

// lives reports that the event waits or runs.
func (r eventRow) lives() bool { return r.lane != laneEnded }

// waits reports that the event is not claimed, or its lease ran out.
func (r eventRow) waits(now int64) bool {
	return r.lane < lanes || r.lane == laneRunning && r.at <= now
}

// meet returns the rows of the ids of messages in all queues of the topic.
func (s session) meet(ctx context.Context, h head, msgs []*message) (map[string][]eventRow, error) {
	ids := make([][]byte, len(msgs))
	for i, m := range msgs {
		ids[i] = blob(m.id)
	}
	return s.events(ctx, h, ids, s.current)
}

// events returns the rows of ids in all queues of the topic.
func (s session) events(ctx context.Context, h head, ids [][]byte, lock string) (map[string][]eventRow, error) {
	found := map[string][]eventRow{}
	queueList, queues := among(h.ids())
	idList, keys := among(ids)
	err := s.each(ctx, func(scan func(...any) error) error {
		var id []byte
		var r eventRow
		if err := scan(&id, &r.queue, &r.lane, &r.at, &r.token, &r.again); err != nil {
			return err
		}
		r.lane -= lineOf(r.queue, 0)
		found[string(id)] = append(found[string(id)], r)
		return nil
	}, "SELECT id, queue_id, line, at, token, again FROM {events} WHERE queue_id IN "+queueList+" AND id IN "+idList+" ORDER BY queue_id, id"+lock,
		parameters(queues, keys)...)
	return found, err
}

// decide accepts or refuses a message that met other rows, or some of its own.
// It reports false if the rows of others went away meanwhile.
func (s session) decide(ctx context.Context, h head, m *message, met []eventRow, again bool) (bool, error) {
	stored, refused := 0, false
	var ended []eventRow
	for _, r := range met {
		switch {
		case r.token == m.token:
			stored++
		case r.lives() || r.at > h.now && !again:
			refused = true
		default:
			ended = append(ended, r)
		}
	}
	if refused {
		if stored == 0 {
			return true, nil
		}
		list, queues := among(h.ids())
		_, err := s.exec(ctx, "DELETE FROM {events} WHERE queue_id IN "+list+" AND id = ? AND token = ?", parameters(queues, blob(m.id), m.token)...)
		return true, err
	}
	receivers := h.receivers()
	for _, r := range ended {
		if !slices.ContainsFunc(receivers, func(q queueRow) bool { return q.id == r.queue }) {
			continue
		}
		n, err := s.revive(ctx, r.queue, m)
		if err != nil {
			return false, err
		}
		stored += int(n)
	}
	m.accepted = stored == len(receivers)
	return m.accepted, nil
}

// revive puts a new message in the place of one that has ended.
func (s session) revive(ctx context.Context, queue int64, m *message) (int64, error) {
	return s.exec(ctx, "UPDATE {events} SET line = ?, at = ?, due = ?, priority = ?, token = ?, attempts = 0, failures = 0, again = 0, last_error = ?, body = ?"+
		" WHERE queue_id = ? AND id = ? AND line = ?",
		lineOf(queue, m.lane), m.due, m.due, m.priority, m.token, []byte{}, m.body, queue, blob(m.id), lineOf(queue, laneEnded))
}

// merge lets a message meet what lives under its id, as its conflict mode says,
// or stores it if nothing does.
func (s session) merge(ctx context.Context, h head, c driver.Conflict, m *message) error {
	for range storeTries {
		met, err := s.events(ctx, h, blobs([]string{m.id}), s.lock)
		if err != nil {
			return err
		}
		lives := false
		for _, r := range met[m.id] {
			if !r.lives() {
				continue
			}
			lives = true
			merged, err := s.mergeInto(ctx, h, c, m, r)
			if err != nil {
				return err
			}
			m.accepted = m.accepted || merged
		}
		if lives {
			return nil
		}
		if err := s.store(ctx, h, []*message{m}, true); err != nil || m.accepted {
			return err
		}
	}
	return fmt.Errorf("id %q keeps changing: %w", m.id, driver.ErrUnavailable)
}

// mergeInto lets a message meet one copy. It reports whether that changed it.
func (s session) mergeInto(ctx context.Context, h head, c driver.Conflict, m *message, r eventRow) (bool, error) {
	waits, id := r.waits(h.now), blob(m.id)
	var err error
	switch {
	case c == driver.Replace && waits:
		_, err = s.exec(ctx, "UPDATE {events} SET line = ?, at = ?, due = ?, priority = ?, token = ?, body = ? WHERE queue_id = ? AND id = ?",
			lineOf(r.queue, m.lane), m.due, m.due, m.priority, m.token, m.body, r.queue, id)
	case c == driver.PushBack && waits:
		err = s.postpone(ctx, r.queue, id, m.due)
	case c == driver.RunAgain && !waits && r.again == 0:
		_, err = s.exec(ctx, "INSERT INTO {again} (queue_id, id, due, priority, body) VALUES (?, ?, ?, ?, ?)", r.queue, id, m.due, m.priority, m.body)
		if err == nil {
			_, err = s.exec(ctx, "UPDATE {events} SET again = 1 WHERE queue_id = ? AND id = ?", r.queue, id)
		}
	default:
		return false, nil
	}
	return true, err
}

// postpone lets a message wait until due. Whoever had claimed it has lost it.
func (s session) postpone(ctx context.Context, queue int64, id []byte, due int64) error {
	_, err := s.exec(ctx, "UPDATE {events} SET line = queue_id * 8 + 1 - priority, at = ?, due = ?, token = 0 WHERE queue_id = ? AND id = ?",
		due, due, queue, id)
	return err
}
