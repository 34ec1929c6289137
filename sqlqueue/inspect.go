package sqlqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Get returns one copy of a message: the living one if there is one.
func (b *Broker) Get(ctx context.Context, q driver.Queue, id string) (driver.Record, error) {
	if err := checkQueue(q); err != nil {
		return driver.Record{}, err
	}
	if err := driver.CheckName("id", id); err != nil {
		return driver.Record{}, fmt.Errorf("sqlqueue: %w", err)
	}
	found := map[string]driver.Record{}
	err := b.read(ctx, func(s session) error {
		h, err := s.head(ctx, q.Topic)
		if err != nil {
			return err
		}
		queue, _ := h.find(q.Group)
		ids := blobs([]string{id})
		if err = s.living(ctx, queue, h.now, ids, found); err != nil || len(found) > 0 {
			return err
		}
		return s.buried(ctx, queue, ids, found)
	})
	if err != nil {
		return driver.Record{}, err
	}
	r, ok := found[id]
	if !ok {
		return r, fmt.Errorf("sqlqueue: get %q: %w", id, driver.ErrNotFound)
	}
	return r, nil
}

// living adds the records of those of ids that wait or run.
func (s session) living(ctx context.Context, queue queueRow, now int64, ids [][]byte, found map[string]driver.Record) error {
	list, keys := among(ids)
	return s.each(ctx, func(scan func(...any) error) error {
		r := driver.Record{Queue: queue.Queue, State: driver.Ready}
		var id, text []byte
		var line, at, due int64
		if err := scan(&id, &line, &at, &due, &r.Priority, &r.Attempts, &r.Failures, &text, &r.Body); err != nil {
			return err
		}
		switch lane := line - lineOf(queue.id, 0); {
		case lane < lanes && at > now:
			r.State = driver.Delayed
		case lane == laneRunning && at > now:
			r.State = driver.Running
		default:
			at = due
		}
		r.ID, r.LastError, r.Time = string(id), string(text), time.UnixMicro(at)
		found[r.ID] = r
		return nil
	}, "SELECT id, line, at, due, priority, attempts, failures, last_error, body FROM {events}"+
		" WHERE queue_id = ? AND id IN "+list+" AND line < ?", parameters(queue.id, keys, lineOf(queue.id, laneEnded))...)
}

// buried adds the records of those of ids that are dead.
func (s session) buried(ctx context.Context, queue queueRow, ids [][]byte, found map[string]driver.Record) error {
	list, keys := among(ids)
	return s.each(ctx, func(scan func(...any) error) error {
		r := driver.Record{Queue: queue.Queue, State: driver.Dead}
		var id, text, reason []byte
		var at int64
		if err := scan(&id, &at, &r.Priority, &r.Attempts, &r.Failures, &text, &reason, &r.Body); err != nil {
			return err
		}
		r.ID, r.LastError, r.Reason, r.Time = string(id), string(text), string(reason), time.UnixMicro(at)
		found[r.ID] = r
		return nil
	}, "SELECT id, at, priority, attempts, failures, last_error, reason, body FROM {dead} WHERE queue_id = ? AND id IN "+list,
		parameters(queue.id, keys)...)
}
