package sqlqueue

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

// In PostgreSQL a push of new ids to a topic with one group is one statement. It
// checks that the group is the only one, and stores nothing if it is not.

// isPlain reports whether messages are all valid, and those of one insert.
func isPlain(msgs []driver.Message) bool {
	steps := pushSteps(msgs, make([]error, len(msgs)))
	return len(steps) == 1 && len(steps[0]) == len(msgs) && msgs[0].Conflict == driver.KeepFirst
}

// single returns the only group that a topic has ever had, as far as the last
// push saw.
func (b *Broker) single(topic string) (queueRow, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	row, ok := b.singles[topic]
	return row, ok
}

func (b *Broker) setSingle(topic string, h head) {
	receivers := h.receivers()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.singles) > remembered {
		clear(b.singles)
	}
	if delete(b.singles, topic); b.dialect != Postgres || h.groups() != 1 || len(receivers) != 1 {
		return
	}
	b.singles[topic] = receivers[0]
}

// pushSingle stores messages for the only group of their topic in one statement,
// and what that did not store in a transaction.
func (b *Broker) pushSingle(ctx context.Context, to queueRow, msgs []driver.Message) ([]error, error) {
	stored, unknown := b.insertSingle(ctx, to, msgs)
	if len(stored) > 0 {
		b.wake(ctx, []queueRow{to})
	}
	outcomes := make([]error, len(msgs))
	var left []driver.Message
	var place []int
	for i, m := range msgs {
		if !stored[m.ID] {
			left, place = append(left, m), append(place, i)
		}
	}
	if len(left) == 0 {
		return outcomes, nil
	}
	rest, err := b.pushAll(ctx, to.Topic, left)
	if unknown != nil {
		b.wake(ctx, []queueRow{to}) // for what the statement stored after all
	}
	if err != nil && unknown != nil {
		err = b.failure(ctx, unknown)
	}
	if err != nil && len(stored) == 0 {
		return nil, err
	}
	for n, i := range place {
		if outcomes[i] = err; err == nil {
			outcomes[i] = rest[n]
		}
		if unknown != nil && errors.Is(outcomes[i], driver.ErrDuplicate) {
			outcomes[i] = fmt.Errorf("%w, perhaps by this push: %w", outcomes[i], driver.ErrUnknownOutcome)
		}
	}
	return outcomes, nil
}

// insertSingle stores messages that all have other ids and KeepFirst, if the group
// of the given row is still the only one of its topic that there ever was. It
// returns which were stored, and an error if others may be.
func (b *Broker) insertSingle(ctx context.Context, to queueRow, msgs []driver.Message) (map[string]bool, error) {
	source, rows := sourceOf(msgs)
	stored, sent := map[string]bool{}, false
	err := b.connected(ctx, func(s session) error {
		sent = true
		return s.each(ctx, func(scan func(...any) error) error {
			var id []byte
			err := scan(&id)
			stored[string(id)] = true
			return err
		}, "INSERT INTO {events} (queue_id, id, line, at, due, priority, token, ended, fence, attempts, failures, again, last_error, body)"+
			" SELECT q.id, m.id, q.id * 8 + 1 - m.priority, GREATEST(c.now + m.delay, m.due), GREATEST(c.now + m.delay, m.due), m.priority, 0, 0, 0, 0, 0, 0, '', m.body"+
			" FROM (SELECT "+s.now+" AS now) c, "+source+" m, {queues} q WHERE (SELECT version FROM {schema}) = ?"+
			" AND q.id = ? AND q.topic = ? AND q.grp = ? AND (q.subscribed = 1 OR q.grp = ?)"+
			" AND NOT EXISTS (SELECT 1 FROM {queues} o WHERE o.topic = ? AND o.grp NOT IN (?, ?)) ON CONFLICT DO NOTHING RETURNING id",
			parameters(rows, layoutVersion, to.id, blob(to.Topic), blob(to.Group), blob(driver.DefaultGroup), blob(to.Topic), blob(to.Group), []byte{})...)
	})
	switch {
	case err == nil:
		return stored, nil
	case !sent || commitUndone(err) || errors.Is(err, sqldriver.ErrBadConn):
		return nil, nil
	}
	return nil, &commitError{err}
}

// sourceOf returns messages as a table and its parameters. One alone is spared
// the arrays.
func sourceOf(msgs []driver.Message) (string, []any) {
	if len(msgs) == 1 {
		m := msgs[0]
		return "(SELECT CAST(? AS bytea) AS id, CAST(? AS bytea) AS body, CAST(? AS bigint) AS delay, CAST(? AS bigint) AS due, CAST(? AS bigint) AS priority)",
			[]any{blob(m.ID), notNil(m.Body), micros(max(m.Delay, 0)), instant(m.At), int64(m.Priority)}
	}
	var rows packed
	for _, m := range slices.SortedFunc(slices.Values(msgs), func(a, b driver.Message) int { return strings.Compare(a.ID, b.ID) }) {
		rows.add([]int64{micros(max(m.Delay, 0)), instant(m.At), int64(m.Priority)}, blob(m.ID), m.Body)
	}
	return "(SELECT substring(b.bytes FROM v.at::integer FOR v.id::integer) AS id, substring(b.bytes FROM (v.at + v.id)::integer FOR v.body::integer) AS body," +
		" v.delay, v.due, v.priority FROM " + unpack("at", "id", "body", "delay", "due", "priority") + ")", rows.parameters()
}
