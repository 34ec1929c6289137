package sqltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// TestOverlappingBatches has many goroutines push the same ids in different
// orders, while others cancel, claim and settle them. The database undoes some of
// them because of deadlocks, of which no caller may hear.
func TestOverlappingBatches(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		db := e.open(t, e.source(t))
		db.SetMaxOpenConns(20)
		b := e.broker(t, db, sqlqueue.WithPrefix(newPrefix()), sqlqueue.WithDedupWindow(time.Hour))
		q := driver.Queue{Topic: "t", Group: "g"}
		require.NoError(t, b.Subscribe(t.Context(), q))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		const rounds, size = 10, 100
		for round := range rounds {
			accepted, canceled, ran := &tally{}, &tally{}, &tally{}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					var msgs []driver.Message
					for _, n := range rand.Perm(size) {
						msgs = append(msgs, driver.Message{ID: fmt.Sprint(round, " ", n)})
					}
					outcomes, err := b.Push(ctx, q.Topic, msgs)
					if err != nil {
						t.Errorf("Push: %v", err)
						return
					}
					for i, err := range outcomes {
						if err == nil {
							accepted.add(msgs[i].ID)
						} else if !errors.Is(err, driver.ErrDuplicate) {
							t.Errorf("Push of %s: %v", msgs[i].ID, err)
						}
					}
				})
			}
			for range 2 {
				all.Go(func() {
					for range size / 4 {
						id := fmt.Sprint(round, " ", rand.N(size))
						ok, err := b.Cancel(ctx, q.Topic, id)
						if err != nil {
							t.Errorf("Cancel: %v", err)
						}
						if ok {
							canceled.add(id)
						}
					}
				})
				all.Go(func() {
					for range size / 4 {
						drain(ctx, t, b, q, ran)
					}
				})
			}
			all.Wait()
			drain(ctx, t, b, q, ran)
			ids, cancels, runs := accepted.all(), canceled.all(), ran.all()
			require.Len(t, ids, size)
			for id, n := range ids {
				require.Equal(t, n, cancels[id]+runs[id], "accepted %d times, canceled %d, ran %d: %s", n, cancels[id], runs[id], id)
				require.LessOrEqual(t, runs[id], 1, id)
			}
		}
	})
}

// drain acks what there is, and counts it.
func drain(ctx context.Context, t *testing.T, b *sqlqueue.Broker, q driver.Queue, ran *tally) {
	for {
		c, err := b.Claim(ctx, q, driver.ClaimRequest{Limit: 30, Lease: time.Minute})
		if err != nil {
			t.Errorf("Claim: %v", err)
			return
		}
		var all []driver.Settlement
		for _, d := range c.Deliveries {
			ran.add(d.ID)
			all = append(all, driver.Settlement{Receipt: d.Receipt})
		}
		outcomes, err := b.Settle(ctx, q, all)
		if err := errors.Join(append(outcomes, err)...); err != nil {
			t.Errorf("Settle: %v", err)
		}
		if len(all) == 0 && (c.Next < 0 || c.Next > time.Second) {
			return
		}
	}
}
