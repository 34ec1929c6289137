package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

var text = fanfare.NewTopic[string]("text")

// produce dispatches in every way as fast as it can. It prints the ids of what
// was accepted; those in transactions begin with "tx-" and have an order.
func produce(e engine, db *sql.DB, d *fanfare.Durable) error {
	prefix, ctx := os.Getenv(childPrefix), context.Background()
	var g errgroup.Group
	for _, dispatch := range []func() ([]string, error){
		func() ([]string, error) {
			id := fanfare.NewID()
			return []string{id}, text.Dispatch(ctx, d, id, fanfare.ID(id))
		},
		func() ([]string, error) {
			var ids []string
			var events []any
			for range 20 {
				id := fanfare.NewID()
				ids, events = append(ids, id), append(events, fanfare.With(id, fanfare.ID(id)))
			}
			return ids, d.DispatchBatch(ctx, text.Name(), events)
		},
		func() ([]string, error) {
			id := "tx-" + fanfare.NewID()
			return []string{id}, inTx(ctx, db, func(tx *sql.Tx) error {
				if err := e.insertOrder(ctx, tx, prefix, id); err != nil {
					return err
				}
				return text.Dispatch(ctx, d.InTx(tx), id, fanfare.ID(id))
			})
		},
	} {
		g.Go(func() error {
			for {
				ids, err := dispatch()
				switch {
				case err == nil:
					fmt.Print(strings.Join(ids, "\n") + "\n")
				case !strings.HasPrefix(ids[0], "tx-"): // a transaction of SQLite meets the locks of others
					return err
				}
			}
		})
	}
	return g.Wait()
}

// inTx runs f in a transaction.
func inTx(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// tally counts what handlers get.
type tally struct {
	mu  sync.Mutex
	got map[string]int
}

func (c *tally) add(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got == nil {
		c.got = map[string]int{}
	}
	c.got[id]++
}

// of returns how often each id came.
func (c *tally) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]int{}
	for id, n := range c.got {
		all[id] = n
	}
	return all
}

// consume counts the events of text.
func consume(t *testing.T, d *fanfare.Durable, opts ...fanfare.HandlerOption) *tally {
	t.Helper()
	c := &tally{}
	_, err := text.Register(t.Context(), d, func(_ context.Context, id string) error { c.add(id); return nil }, opts...)
	require.NoError(t, err)
	return c
}

// drained waits until nothing of text is left but what is dead.
func drained(t *testing.T, d *fanfare.Durable) {
	t.Helper()
	require.Eventually(t, func() bool {
		all, err := d.Status(t.Context(), text.Name())
		if err != nil {
			return false
		}
		for _, s := range all {
			if s.Ready+s.Running+s.Delayed > 0 {
				return false
			}
		}
		return true
	}, 60*time.Second, 20*time.Millisecond, "drained")
}

func TestKilledProducer(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		source, prefix := e.source(t), newPrefix()
		db := e.open(t, source)
		d := e.dispatcher(t, db, sqlqueue.WithPrefix(prefix))
		e.createOrders(t, db, prefix)
		got := consume(t, d)
		var printed []string
		for range 6 {
			c := startChild(t, "produce", e.env(source, prefix))
			select {
			case <-c.first:
			case <-c.ended:
				t.Fatal("the child ended by itself")
			case <-time.After(20 * time.Second):
				t.Fatal("the child prints nothing")
			}
			<-time.After(rand.N(300 * time.Millisecond))
			printed = append(printed, c.kill()...)
		}
		drained(t, d)
		counts, rows := got.all(), e.ordersIn(t, db, prefix)
		t.Logf("%d printed, %d handled, %d in transactions", len(printed), len(counts), len(rows))
		for id, n := range counts {
			require.Equal(t, 1, n, id)
			if strings.HasPrefix(id, "tx-") {
				require.True(t, rows[id], "event %s without its row", id)
			}
		}
		for id := range rows {
			require.Equal(t, 1, counts[id], "row %s without its event", id)
		}
		for _, id := range printed {
			require.Equal(t, 1, counts[id], "accepted and lost: %s", id)
		}
	})
}

// dispatcher returns one on tables of its own.
func (e engine) dispatcher(t *testing.T, db *sql.DB, opts ...sqlqueue.Option) *fanfare.Durable {
	t.Helper()
	d, err := fanfare.New(e.broker(t, db, opts...))
	require.NoError(t, err)
	behaviour.StopWith(t, d)
	return d
}
