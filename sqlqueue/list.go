package sqlqueue

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/fanfare-go/fanfare/driver"
)

// List returns up to limit records from the given offset. What it costs grows
// with the distance of the offset from the end that it counts from, not with the
// queue.
func (b *Broker) List(ctx context.Context, q driver.Queue, state driver.State, offset, limit int) ([]driver.Record, error) {
	if err := checkQueue(q); err != nil {
		return nil, err
	}
	if !slices.Contains([]driver.State{driver.Waiting, driver.Ready, driver.Delayed, driver.Running, driver.Dead}, state) {
		return nil, fmt.Errorf("sqlqueue: list state %q: %w", state, driver.ErrInvalid)
	}
	if limit <= 0 {
		return nil, nil
	}
	if err := b.reclaimAll(ctx, q); err != nil {
		return nil, err
	}
	var records []driver.Record
	err := b.read(ctx, func(s session) error {
		h, err := s.head(ctx, q.Topic)
		if err != nil {
			return err
		}
		queue, _ := h.find(q.Group)
		places, err := s.places(ctx, queue.id, h.now, state, offset, limit)
		if err != nil {
			return err
		}
		records, err = s.records(ctx, queue, h.now, state, places)
		return err
	})
	return records, err
}

// place is where a message stands in its lane.
type place struct {
	at int64
	id []byte
}

// stretch is a part of a lane, in the order of its index: what comes after an
// instant, or what comes until then.
type stretch struct {
	table string
	line  int64
	where string
	at    int64
}

// places returns those of the messages that List shows, in its order.
func (s session) places(ctx context.Context, queue, now int64, state driver.State, offset, limit int) ([]place, error) {
	n, fromEnd := offset+min(limit, maxInstant-max(offset, 0)), offset < 0
	if fromEnd {
		n = -max(offset, -maxInstant)
	}
	var stretches, merged []stretch // one after the other; by their times
	for lane := range lanes {
		if state == driver.Ready || state == driver.Waiting {
			stretches = append(stretches, stretch{"{events}", lineOf(queue, int64(lane)), "at <= ?", now})
		}
		if state == driver.Delayed || state == driver.Waiting {
			merged = append(merged, stretch{"{events}", lineOf(queue, int64(lane)), "at > ?", now})
		}
	}
	switch state {
	case driver.Running:
		stretches = append(stretches, stretch{"{events}", lineOf(queue, laneRunning), "at > ?", now})
	case driver.Dead:
		stretches = append(stretches, stretch{"{dead}", lineOf(queue, laneDead), "at > ?", 0})
	}
	all, err := s.along(ctx, stretches, n, fromEnd)
	if err != nil {
		return nil, err
	}
	late, err := s.along(ctx, merged, n, fromEnd)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(late, func(a, b place) int { return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(a.id, b.id)) })
	all = append(all, late...)
	if fromEnd {
		all = all[max(0, len(all)-n):]
		limit = max(0, limit-(n-len(all)))
		offset = 0
	}
	all = all[min(offset, len(all)):]
	return all[:min(limit, len(all))], nil
}

// along returns up to n places of each stretch, from its beginning or its end.
func (s session) along(ctx context.Context, stretches []stretch, n int, fromEnd bool) ([]place, error) {
	var all []place
	order := "at, id"
	if fromEnd {
		order = "at DESC, id DESC"
	}
	for _, st := range stretches {
		begin := len(all)
		err := s.each(ctx, func(scan func(...any) error) error {
			var p place
			err := scan(&p.at, &p.id)
			all = append(all, p)
			return err
		}, "SELECT at, id FROM "+st.table+" WHERE line = ? AND "+st.where+" ORDER BY "+order+" LIMIT ?", st.line, st.at, n)
		if err != nil {
			return nil, err
		}
		if fromEnd {
			slices.Reverse(all[begin:])
		}
	}
	return all, nil
}

// records reads the messages at the given places, as far as they are still there.
func (s session) records(ctx context.Context, queue queueRow, now int64, state driver.State, places []place) ([]driver.Record, error) {
	var records []driver.Record
	for some := range slices.Chunk(places, batch) {
		ids, found := make([][]byte, len(some)), map[string]driver.Record{}
		for i, p := range some {
			ids[i] = p.id
		}
		var err error
		if state == driver.Dead {
			err = s.buried(ctx, queue, ids, found)
		} else {
			err = s.living(ctx, queue, now, ids, found)
		}
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if r, ok := found[string(id)]; ok {
				records = append(records, r)
			}
		}
	}
	return records, nil
}

// reclaimAll lets wait again all that was claimed under leases that ran out.
func (b *Broker) reclaimAll(ctx context.Context, q driver.Queue) error {
	for {
		l, err := b.look(ctx, q, 1)
		if err != nil || l.due(laneRunning) == 0 {
			return err
		}
		if n, err := b.reclaim(ctx, l); err != nil || n == 0 {
			return err
		}
	}
}
