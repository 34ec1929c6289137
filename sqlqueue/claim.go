package sqlqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Claim leases due messages of q, up to r.Limit, and as many as have 1 MiB of
// bodies together, but at least one.
func (b *Broker) Claim(ctx context.Context, q driver.Queue, r driver.ClaimRequest) (driver.Claim, error) {
	if err := checkQueue(q); err != nil {
		return driver.Claim{}, err
	}
	if r.Limit < 1 || r.Lease <= 0 {
		return driver.Claim{}, fmt.Errorf("sqlqueue: claim %d for %v: %w", r.Limit, r.Lease, driver.ErrInvalid)
	}
	b.wakes.know(q) // before the look, so that no wake after it is lost
	b.note(ctx, q, r.Consumer)
	r.Limit = min(r.Limit, batch)
	if on, ok := b.takeStreak(q); ok && !r.AtMostOnce {
		claim, err := b.claimOn(ctx, q, on, r.Limit, r.Lease)
		if len(claim.Deliveries) > 0 {
			b.wakes.wake(q, false) // as below
		}
		if err != nil || len(claim.Deliveries) > 0 {
			return claim, err // Next is 0: the next claim sees what there is
		}
	}
	l, err := b.look(ctx, q, r.Limit+1)
	if err == nil && !l.paused && l.due(laneRunning) > 0 {
		if _, err = b.reclaim(ctx, l); err == nil {
			l, err = b.look(ctx, q, r.Limit+1)
		}
	}
	if err != nil {
		return driver.Claim{}, err
	}
	if l.lost {
		b.subscribeAgain(ctx, q)
	}
	b.wakes.recognize(l.queue, q)
	got := claimed{}
	order := b.turnsOf(q, l, r.Limit)
	if on, ok := l.streak(r); ok && len(order) > 0 && b.dialect == Postgres {
		claim, err := b.claimOn(ctx, q, on, len(order), r.Lease)
		if err != nil {
			return driver.Claim{}, err
		}
		n := len(claim.Deliveries)
		got = claimed{deliveries: claim.Deliveries, found: n, wanted: n}
	}
	if len(order) > 0 && len(got.deliveries) == 0 {
		err := b.transact(ctx, func(s session) (err error) {
			got, err = s.claim(ctx, l, order, r)
			return err
		})
		if err != nil {
			return driver.Claim{}, err
		}
		got.wanted = len(order)
	}
	b.trimSometimes(ctx, q, len(got.deliveries))
	next := l.next(got, r)
	if next == 0 {
		b.wakes.wake(q, false) // another consumer here may have left the wake to this one
	}
	return driver.Claim{
		Deliveries: got.deliveries,
		Now:        time.UnixMicro(l.now),
		Next:       next,
	}, nil
}

// claimed is what a claim got of what it wanted.
type claimed struct {
	deliveries []driver.Delivery
	found      int // by far enough messages that nobody else had locked
	wanted     int
	followed   bool // something waits that RunAgain had kept
}

// candidate is a message that this transaction has locked.
type candidate struct {
	driver.Delivery
	size  int
	body  []byte // nil if it is too large to have come along
	again bool   // RunAgain keeps another
}

// claim leases what was seen, as far as nobody else has locked it.
func (s session) claim(ctx context.Context, l sight, order []int, r driver.ClaimRequest) (claimed, error) {
	var quota [lanes]int
	for _, lane := range order {
		quota[lane]++
	}
	var found [lanes][]candidate
	for lane, n := range quota {
		if n > 0 {
			var err error
			if found[lane], err = s.lockReady(ctx, l, lane, n); err != nil {
				return claimed{}, err
			}
		}
	}
	got := claimed{found: len(found[0]) + len(found[1]) + len(found[2])}
	chosen := choose(order, found)
	if len(chosen) == 0 {
		return got, nil
	}
	if err := s.addBodies(ctx, l.queue, chosen); err != nil {
		return claimed{}, err
	}
	if err := s.lease(ctx, l, chosen, r); err != nil {
		return claimed{}, err
	}
	for _, c := range chosen {
		got.deliveries = append(got.deliveries, c.Delivery)
		got.followed = got.followed || r.AtMostOnce && c.again
	}
	return got, nil
}

// claimBytes is how many bytes of bodies one claim takes, at least one body;
// smallBody is the size of those that come along with the locks.
const (
	claimBytes = 1 << 20
	smallBody  = 8 << 10
)

// lockReady locks up to n due messages of a lane.
func (s session) lockReady(ctx context.Context, l sight, lane, n int) ([]candidate, error) {
	var found []candidate
	err := s.each(ctx, func(scan func(...any) error) error {
		var c candidate
		var id []byte
		var due int64
		if err := scan(&id, &due, &c.Priority, &c.Fence, &c.Attempt, &c.Failures, &c.again, &c.size, &c.body); err != nil {
			return err
		}
		c.ID, c.Due = string(id), time.UnixMicro(due)
		found = append(found, c)
		return nil
	}, fmt.Sprintf("SELECT id, due, priority, fence, attempts, failures, again = 1, LENGTH(body), CASE WHEN LENGTH(body) <= %d THEN body END"+
		" FROM {events} WHERE line = ? AND at <= ? ORDER BY at, id LIMIT ?", smallBody)+s.skip, lineOf(l.queue, int64(lane)), l.now, n)
	return found, err
}

// choose takes messages in the order of the turns, up to claimBytes.
func choose(order []int, found [lanes][]candidate) []*candidate {
	var chosen []*candidate
	size := 0
	for _, lane := range order {
		if len(found[lane]) == 0 {
			continue
		}
		c := &found[lane][0]
		found[lane] = found[lane][1:]
		if size += c.size; size > claimBytes && len(chosen) > 0 {
			break
		}
		chosen = append(chosen, c)
	}
	return chosen
}

// addBodies reads the bodies that did not come along.
func (s session) addBodies(ctx context.Context, queue int64, chosen []*candidate) error {
	missing := map[string]*candidate{}
	var ids [][]byte
	for _, c := range chosen {
		if c.Body = c.body; c.size > smallBody {
			missing[c.ID] = c
			ids = append(ids, blob(c.ID))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	list, keys := among(ids)
	return s.each(ctx, func(scan func(...any) error) error {
		var id, body []byte
		if err := scan(&id, &body); err != nil {
			return err
		}
		missing[string(id)].Body = body
		return nil
	}, "SELECT id, body FROM {events} WHERE queue_id = ? AND id IN "+list, parameters(queue, keys)...)
}

// lease writes down a claim, and the ack if that comes with it.
func (s session) lease(ctx context.Context, l sight, chosen []*candidate, r driver.ClaimRequest) error {
	token := newToken()
	ids := make([]string, len(chosen))
	for i, c := range chosen {
		ids[i] = c.ID
		c.Attempt++
		c.Fence = max(c.Fence+1, l.now)
		c.Token = strconv.FormatInt(token, 36)
	}
	list, keys := among(blobs(ids))
	_, err := s.exec(ctx, "UPDATE {events} SET line = ?, at = ?, token = ?, attempts = attempts + 1,"+
		" fence = CASE WHEN fence < ? THEN ? ELSE fence + 1 END WHERE queue_id = ? AND id IN "+list,
		parameters(lineOf(l.queue, laneRunning), l.now+micros(r.Lease), token, l.now, l.now, l.queue, keys)...)
	if err != nil || !r.AtMostOnce {
		return err
	}
	if err := s.complete(ctx, l.queue, ids, l.now); err != nil {
		return err
	}
	for _, c := range chosen {
		if c.again {
			if err := s.follow(ctx, l.queue, c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// reclaim lets wait what was claimed under leases that have run out. The tokens
// stay valid until somebody claims.
func (b *Broker) reclaim(ctx context.Context, l sight) (n int64, err error) {
	err = b.transact(ctx, func(s session) error {
		n = 0
		ids, err := s.front(ctx, l.queue, laneRunning, l.now, batch, s.skip)
		if err != nil || len(ids) == 0 {
			return err
		}
		list, keys := among(ids)
		n, err = s.exec(ctx, "UPDATE {events} SET line = queue_id * 8 + 1 - priority, at = due WHERE queue_id = ? AND id IN "+list, parameters(l.queue, keys)...)
		return err
	})
	return n, err
}
