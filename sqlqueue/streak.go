package sqlqueue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// streak is what a claim needs to know of a queue to be one statement: the only
// lane in which anything is due, and what is the last that is not, or not any more.
type streak struct {
	queue int64
	lane  int
	at    int64
	id    string
	until time.Time // for the next claim: when it is to look anew
}

// streakFor is for how long claims follow one another without a look. What is put
// before the front of the lane meanwhile, as leases that ran out are by another
// process, waits until then. It saves them to pass over all that was claimed and
// that the database has not cleared away.
const streakFor = 50 * time.Millisecond

// streak returns what a claim may do in one statement.
func (l sight) streak(r driver.ClaimRequest) (streak, bool) {
	on := streak{queue: l.queue, lane: -1, until: time.Now().Add(streakFor)}
	for lane := range l.heads {
		if l.due(lane) == 0 {
			continue
		}
		if on.lane >= 0 || lane == laneRunning {
			return streak{}, false
		}
		on.lane, on.at = lane, l.heads[lane][0] // no id is empty
	}
	return on, on.lane >= 0 && !r.AtMostOnce
}

// keepStreak keeps a streak for the next claim of the queue.
func (b *Broker) keepStreak(q driver.Queue, s streak) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.streaks) > remembered {
		clear(b.streaks)
	}
	b.streaks[q] = s
}

// takeStreak returns the streak of a queue, and ends it.
func (b *Broker) takeStreak(q driver.Queue) (streak, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.streaks[q]
	delete(b.streaks, q)
	return s, ok && time.Now().Before(s.until)
}

// claimOn claims in one statement up to limit messages that a streak leads to
// expect. It returns nothing if anything else is due in the queue, if it is paused,
// or if its id is another's, as in a database that was emptied. Where it got the
// limit and more is due, it keeps the streak.
//
// It locks one message more than it takes, to see whether there is one. The line
// is compared together with the rest: so PostgreSQL, whatever it believes of the
// content of a table that it has not analyzed for long, expects many rows, and
// does not read and sort all of them.
func (b *Broker) claimOn(ctx context.Context, q driver.Queue, on streak, limit int, lease time.Duration) (driver.Claim, error) {
	var claim driver.Claim
	more, token := false, newToken()
	text := strconv.FormatInt(token, 36)
	lane := func(n int) int64 { return lineOf(on.queue, int64(n)) }
	others := slices.DeleteFunc([]any{lane(0), lane(1), lane(2), lane(laneRunning)}, func(l any) bool { return l == lane(on.lane) })
	err := b.once(ctx, func(s session) error {
		claim = driver.Claim{}
		return s.each(ctx, func(scan func(...any) error) error {
			var d driver.Delivery
			var id []byte
			var due, now int64
			err := scan(&id, &due, &d.Priority, &d.Fence, &d.Attempt, &d.Failures, &d.Body, &now, &more)
			d.ID, d.Token, d.Due, d.Body = string(id), text, time.UnixMicro(due), notNil(d.Body)
			claim.Now = time.UnixMicro(now)
			claim.Deliveries = append(claim.Deliveries, d)
			return err
		}, "WITH c AS MATERIALIZED (SELECT "+s.now+" AS now), locked AS MATERIALIZED ("+
			"SELECT ctid, at, id, length(body) AS size FROM {events} WHERE (line, at, id) > (?, ?, ?) AND (line, at) <= (?, (SELECT now FROM c))"+
			" AND (SELECT version FROM {schema}) = ? AND (SELECT id FROM {queues} WHERE topic = ? AND grp = ?) = ?"+
			" AND NOT EXISTS (SELECT 1 FROM {queues} WHERE topic = ? AND grp IN (?, ?) AND paused = 1)"+
			strings.Repeat(" AND (SELECT at FROM {events} WHERE line = ? AND at <= (SELECT now FROM c) ORDER BY at LIMIT 1) IS NULL", len(others))+
			fmt.Sprintf(" ORDER BY line, at, id LIMIT %d FOR UPDATE SKIP LOCKED)", limit+1)+
			" UPDATE {events} SET line = ?, at = (SELECT now FROM c) + ?, token = ?, attempts = attempts + 1, fence = GREATEST(fence + 1, (SELECT now FROM c))"+
			" WHERE ctid = ANY(ARRAY(SELECT ctid FROM (SELECT ctid, row_number() OVER w AS n, sum(size) OVER w AS size FROM locked WINDOW w AS (ORDER BY at, id)) sized"+
			" WHERE n = 1 OR n <= ? AND size <= ?))"+
			" RETURNING id, due, priority, fence, attempts, failures, body, (SELECT now FROM c), (SELECT count(*) FROM locked) > ?",
			parameters(lane(on.lane), on.at, blob(on.id), lane(on.lane), layoutVersion, blob(q.Topic), blob(q.Group), on.queue,
				blob(q.Topic), blob(q.Group), []byte{}, others,
				lane(laneRunning), micros(lease), token, limit, claimBytes, limit)...)
	})
	if err != nil {
		return driver.Claim{}, err
	}
	slices.SortFunc(claim.Deliveries, func(a, b driver.Delivery) int {
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.ID, b.ID))
	})
	if n := len(claim.Deliveries); more && n == limit {
		on.at, on.id = instant(claim.Deliveries[n-1].Due), claim.Deliveries[n-1].ID
		b.keepStreak(q, on)
	}
	return claim, nil
}
