package sqlqueue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Status counts the queues of the given topics, or of all. It counts along an
// index: a million messages take a database some 100 ms.
func (b *Broker) Status(ctx context.Context, topics ...string) ([]driver.Status, error) {
	for _, topic := range topics {
		if err := driver.CheckName("topic", topic); err != nil {
			return nil, fmt.Errorf("sqlqueue: %w", err)
		}
	}
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	var all []driver.Status
	err := b.read(ctx, func(s session) error {
		now, queues, err := s.queues(ctx, topics)
		if err != nil {
			return err
		}
		counts, err := s.counts(ctx, now, queues)
		if err != nil {
			return err
		}
		all = summarize(topics, queues, counts)
		return nil
	})
	return all, err
}

// queues returns the rows of the given topics, or of all.
func (s session) queues(ctx context.Context, topics []string) (int64, []queueRow, error) {
	condition, args := "q.id IS NOT NULL", []any(nil)
	if len(topics) > 0 {
		list, names := among(blobs(topics))
		condition, args = "q.topic IN "+list, names
	}
	var queues []queueRow
	var now int64
	version := 0
	err := s.each(ctx, func(scan func(...any) error) error {
		var topic, group []byte
		var id, subscribed, paused *int64
		if err := scan(&now, &version, &id, &topic, &group, &subscribed, &paused); err != nil || id == nil {
			return err
		}
		queues = append(queues, queueRow{driver.Queue{Topic: string(topic), Group: string(group)}, *id, *subscribed != 0, *paused != 0})
		return nil
	}, "SELECT "+s.now+", s.version, q.id, q.topic, q.grp, q.subscribed, q.paused FROM {schema} s LEFT JOIN {queues} q ON "+condition, args...)
	if err == nil {
		err = checkVersion(version)
	}
	return s.clock(now), queues, err
}

// counts counts the messages and consumers of queues, by the ids of their rows.
func (s session) counts(ctx context.Context, now int64, queues []queueRow) (map[int64]*driver.Status, error) {
	counts, ids := map[int64]*driver.Status{}, []int64{}
	for _, q := range queues {
		counts[q.id], ids = &driver.Status{Queue: q.Queue}, append(ids, q.id)
	}
	for some := range slices.Chunk(ids, batch) {
		list, keys := among(some)
		count := func(add func(st *driver.Status, n int, first int64), text string, args ...any) error {
			return s.each(ctx, func(scan func(...any) error) error {
				var id, first int64
				var n int
				err := scan(&id, &n, &first)
				if err == nil && n > 0 {
					add(counts[id], n, first)
				}
				return err
			}, text, parameters(keys, args)...)
		}
		ready := func(st *driver.Status, n int, first int64) {
			st.Ready += n
			st.OldestDue = max(st.OldestDue, time.Duration(now-first)*time.Microsecond)
		}
		lane := func(what, condition string) string {
			return "SELECT queue_id, COUNT(*), MIN(" + what + ") FROM {events} WHERE queue_id IN " + list + " AND " + condition + " AND at %s ? GROUP BY queue_id"
		}
		waits, runs := fmt.Sprintf("lane < %d", lanes), fmt.Sprintf("lane = %d", laneRunning)
		for _, err := range []error{
			count(ready, fmt.Sprintf(lane("at", waits), "<="), now),
			count(ready, fmt.Sprintf(lane("due", runs), "<="), now), // their leases ran out
			count(func(st *driver.Status, n int, _ int64) { st.Delayed = n }, fmt.Sprintf(lane("at", waits), ">"), now),
			count(func(st *driver.Status, n int, _ int64) { st.Running = n }, fmt.Sprintf(lane("at", runs), ">"), now),
			count(func(st *driver.Status, n int, _ int64) { st.Dead = n },
				"SELECT queue_id, COUNT(*), MIN(at) FROM {dead} WHERE queue_id IN "+list+" GROUP BY queue_id"),
			count(func(st *driver.Status, n int, _ int64) { st.Consumers = n },
				"SELECT queue_id, COUNT(*), MIN(seen) FROM {consumers} WHERE queue_id IN "+list+" AND seen > ? GROUP BY queue_id", now-micros(consumerLife)),
		} {
			if err != nil {
				return nil, err
			}
		}
	}
	return counts, nil
}

// summarize returns the counts of what is subscribed or holds something, sorted,
// and of DefaultGroup for each topic of which that is nothing.
func summarize(topics []string, queues []queueRow, counts map[int64]*driver.Status) []driver.Status {
	paused, shown := map[driver.Queue]bool{}, map[string]bool{}
	for _, q := range queues {
		paused[q.Queue] = q.paused
		topics = append(topics, q.Topic)
	}
	var all []driver.Status
	idle := map[string]driver.Status{} // DefaultGroup where it shows only for want of others
	for _, q := range queues {
		st := *counts[q.id]
		if q.subscribed || st.Ready+st.Delayed+st.Running+st.Dead > 0 {
			all, shown[q.Topic] = append(all, st), true
		} else if q.Group == driver.DefaultGroup {
			idle[q.Topic] = st
		}
	}
	slices.Sort(topics)
	for _, topic := range slices.Compact(topics) {
		if !shown[topic] {
			st := idle[topic]
			st.Queue = driver.Queue{Topic: topic, Group: driver.DefaultGroup}
			all = append(all, st)
		}
	}
	for i, st := range all {
		all[i].Paused = paused[st.Queue] || paused[driver.Queue{Topic: st.Queue.Topic}]
	}
	slices.SortFunc(all, func(a, b driver.Status) int {
		return cmp.Or(cmp.Compare(a.Queue.Topic, b.Queue.Topic), cmp.Compare(a.Queue.Group, b.Queue.Group))
	})
	return all
}
