package sqlqueue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// sight is what is seen of a queue from its front. It may be out of date.
type sight struct {
	now    int64
	queue  int64 // 0 if there is none
	lost   bool  // nobody has ever added the group, as far as the database knows
	paused bool
	heads  [lanes + 1][]int64 // the first instants of each lane, and of the leases
}

// The keys of the rows of look besides the lanes.
const (
	lookNow = -iota - 1
	lookQueue
	lookPaused
	lookVersion
)

// look reads the first n instants of each lane, without a lock.
func (b *Broker) look(ctx context.Context, q driver.Queue, n int) (sight, error) {
	topic, group := blob(q.Topic), blob(q.Group)
	text := fmt.Sprintf("SELECT %d AS k, %s AS v", lookNow, b.now) +
		fmt.Sprintf(" UNION ALL SELECT %d, id * 4 + subscribed FROM {queues} WHERE topic = ? AND grp = ?", lookQueue) +
		fmt.Sprintf(" UNION ALL SELECT %d, COUNT(*) FROM {queues} WHERE topic = ? AND grp IN (?, ?) AND paused = 1", lookPaused) +
		fmt.Sprintf(" UNION ALL SELECT %d, version FROM {schema}", lookVersion)
	args := []any{topic, group, topic, group, []byte{}}
	for lane := range lanes + 1 {
		text += fmt.Sprintf(" UNION ALL SELECT %d, at FROM (SELECT at FROM {events} WHERE line = (SELECT id * 8 + %d FROM {queues} WHERE topic = ? AND grp = ?)"+
			" ORDER BY at LIMIT %d) lane%d", lane, lane, n, lane)
		args = append(args, topic, group)
	}
	var l sight
	err := b.read(ctx, func(s session) error {
		version := 0
		l = sight{now: s.clock(0), lost: true}
		err := s.each(ctx, func(scan func(...any) error) error {
			var k int
			var v int64
			if err := scan(&k, &v); err != nil {
				return err
			}
			switch k {
			case lookNow:
				l.now = max(l.now, v)
			case lookQueue:
				l.queue, l.lost = v/4, v%4 == 0
			case lookPaused:
				l.paused = v > 0
			case lookVersion:
				version = int(v)
			default:
				l.heads[k] = append(l.heads[k], v)
			}
			return nil
		}, text, args...)
		for _, h := range l.heads {
			slices.Sort(h)
		}
		if err != nil {
			return err
		}
		return checkVersion(version)
	})
	return l, err
}

// due returns how many of the instants have come.
func (l sight) due(lane int) int {
	n, _ := slices.BinarySearch(l.heads[lane], l.now+1)
	return n
}

// lockedPause is after what time a claim looks again that met messages which
// others have locked: another claim, for a moment, or a transaction of the program.
const lockedPause = 10 * time.Millisecond

// next is how long after now another message is due or a lease ends: of those
// seen, and of those claimed just then.
func (l sight) next(got claimed, r driver.ClaimRequest) time.Duration {
	switch {
	case l.paused:
		return -1
	case got.followed:
		return 0
	}
	next, seen := time.Duration(-1), 0
	if len(got.deliveries) > 0 && !r.AtMostOnce {
		next = r.Lease
	}
	for lane, head := range l.heads {
		n := l.due(lane)
		seen += n
		if n < len(head) {
			if d := span(head[n] - l.now); next < 0 || d < next {
				next = d
			}
		}
	}
	switch {
	case seen == len(got.deliveries):
		return next
	case got.found < got.wanted || got.wanted == 0:
		return lockedPause
	default:
		return 0
	}
}

// cycle is the order in which the lanes have their turns: six, three and one in ten.
var cycle = [10]int{0, 1, 0, 0, 1, 0, 2, 0, 1, 0}

// turnsOf deals up to limit turns to what is ready in each lane, and returns the
// lane of each turn. The broker keeps its place in the cycle for the next claim.
// The turn of a lane that has nothing goes to the first that has.
func (b *Broker) turnsOf(q driver.Queue, l sight, limit int) []int {
	if l.paused {
		return nil
	}
	ready, all := [lanes]int{}, 0
	for lane := range ready {
		ready[lane] = l.due(lane)
		all += ready[lane]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.turns) > remembered {
		clear(b.turns)
	}
	var order []int
	for len(order) < min(limit, all) {
		lane := cycle[b.turns[q]%len(cycle)]
		b.turns[q]++
		for first := 0; ready[lane] == 0; first++ {
			lane = first
		}
		ready[lane]--
		order = append(order, lane)
	}
	return order
}
