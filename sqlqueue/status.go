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
		queues = append(queues, queueRow{driver.Queue{Topic: string(topic), Group: string(group)}, *id, isSubscribed(*subscribed), *paused != 0})
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
		if err := s.countSome(ctx, now, some, counts); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// countSome counts those of some queues.
func (s session) countSome(ctx context.Context, now int64, ids []int64, counts map[int64]*driver.Status) error {
	count := func(table, key, first, condition string, divisor int64, keys []int64, add func(st *driver.Status, n int, first int64), args ...any) error {
		list, all := among(keys)
		return s.each(ctx, func(scan func(...any) error) error {
			var id, first int64
			var n int
			err := scan(&id, &n, &first)
			if err == nil {
				add(counts[id/divisor], n, first)
			}
			return err
		}, "SELECT "+key+", COUNT(*), MIN("+first+") FROM "+table+" WHERE "+key+" IN "+list+" AND "+condition+" GROUP BY "+key, parameters(all, args)...)
	}
	var waits, runs, dead []int64
	for _, id := range ids {
		waits = append(waits, lineOf(id, 0), lineOf(id, 1), lineOf(id, 2))
		runs, dead = append(runs, lineOf(id, laneRunning)), append(dead, lineOf(id, laneDead))
	}
	ready := func(st *driver.Status, n int, first int64) {
		st.Ready += n
		st.OldestDue = max(st.OldestDue, time.Duration(now-first)*time.Microsecond)
	}
	for _, err := range []error{
		count("{events}", "line", "at", "at <= ?", laneCount, waits, ready, now),
		count("{events}", "line", "due", "at <= ?", laneCount, runs, ready, now), // their leases ran out
		count("{events}", "line", "at", "at > ?", laneCount, waits, func(st *driver.Status, n int, _ int64) { st.Delayed += n }, now),
		count("{events}", "line", "at", "at > ?", laneCount, runs, func(st *driver.Status, n int, _ int64) { st.Running = n }, now),
		count("{dead}", "line", "at", "at > ?", laneCount, dead, func(st *driver.Status, n int, _ int64) { st.Dead = n }, 0),
		count("{consumers}", "queue_id", "seen", "seen > ?", 1, ids, func(st *driver.Status, n int, _ int64) { st.Consumers = n }, now-micros(consumerLife)),
	} {
		if err != nil {
			return err
		}
	}
	return nil
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
