package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// inTables is a test that has tables of its own.
type inTables struct {
	*testing.T
	engine
	source string
	prefix string
	db     *sql.DB
	d      *fanfare.Durable
}

// eachInTables runs a test on every kind of database, with a dispatcher and a
// table of orders.
func eachInTables(t *testing.T, test func(t *inTables), opts ...fanfare.Option) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		it := &inTables{T: t, engine: e, source: e.source(t), prefix: newPrefix()}
		it.db = e.open(t, it.source)
		d, err := fanfare.New(e.broker(t, it.db, sqlqueue.WithPrefix(it.prefix)), opts...)
		require.NoError(t, err)
		behaviour.StopWith(t, d)
		it.d = d
		e.createOrders(t, it.db, it.prefix)
		test(it)
	})
}

func (t *inTables) begin(level sql.IsolationLevel) *sql.Tx {
	t.Helper()
	tx, err := t.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// waiting returns the ids of what a group of text has that waits, by due time.
func (t *inTables) waiting(group string) []string {
	t.Helper()
	all, err := t.d.Queue(text.Name(), group).Peek(t.Context(), 0, 100)
	require.NoError(t, err)
	ids := []string{}
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestTxIsAllOrNothing(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		ctx := t.Context()
		groups := []string{"billing", "shipping"}
		for _, g := range groups {
			require.NoError(t, t.d.Queue(text.Name(), g).Create(ctx))
		}
		for _, id := range []string{"canceled", "moved"} {
			require.NoError(t, text.Dispatch(ctx, t.d, id, fanfare.ID(id), fanfare.Delay(time.Hour)))
		}
		do := func(tx *sql.Tx) {
			require.NoError(t, t.insertOrder(ctx, tx, t.prefix, "order"))
			in := t.d.InTx(tx)
			require.NoError(t, text.Dispatch(ctx, in, "x", fanfare.ID("now")))
			require.ErrorIs(t, text.Dispatch(ctx, in, "x", fanfare.ID("now")), fanfare.ErrDuplicate)
			require.NoError(t, text.Dispatch(ctx, in, "x", fanfare.ID("later"), fanfare.Delay(30*time.Minute)))
			require.NoError(t, t.d.DispatchTx(ctx, tx, text.Name(), fanfare.With("x", fanfare.ID("short"))))
			require.NoError(t, in.DispatchBatch(ctx, text.Name(), []any{
				fanfare.With("x", fanfare.ID("batch 1"), fanfare.Delay(40*time.Minute)),
				fanfare.With("x", fanfare.ID("batch 2"), fanfare.Delay(50*time.Minute)),
			}))
			ok, err := in.Cancel(ctx, text.Name(), "canceled")
			require.NoError(t, err)
			require.True(t, ok)
			ok, err = in.Cancel(ctx, text.Name(), "canceled")
			require.NoError(t, err)
			require.False(t, ok, "it is canceled already, as seen from here")
			ok, err = in.Reschedule(ctx, text.Name(), "moved", time.Now())
			require.NoError(t, err)
			require.True(t, ok)
			for _, g := range groups {
				require.ElementsMatch(t, []string{"canceled", "moved"}, t.waiting(g), "nobody else sees it")
			}
		}
		tx := t.begin(sql.LevelDefault)
		do(tx)
		require.NoError(t, tx.Rollback())
		for _, g := range groups {
			require.ElementsMatch(t, []string{"canceled", "moved"}, t.waiting(g))
		}
		require.Empty(t, t.ordersIn(t.T, t.db, t.prefix))
		tx = t.begin(sql.LevelDefault)
		do(tx)
		require.NoError(t, tx.Commit())
		for _, g := range groups {
			ids := t.waiting(g)
			require.ElementsMatch(t, []string{"now", "short", "moved"}, ids[:3])
			require.Equal(t, []string{"later", "batch 1", "batch 2"}, ids[3:])
		}
		require.Len(t, t.ordersIn(t.T, t.db, t.prefix), 1)
	})
}

// TestTxThatHoldsRowsHindersNobodyElse has two transactions and an outside
// dispatch meet at one id, while consumers claim, settle and renew other events.
func TestTxThatHoldsRowsHindersNobodyElse(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		if t.dialect == sqlqueue.SQLite {
			return // where only one transaction writes at a time
		}
		for _, commits := range []bool{true, false} {
			id := fmt.Sprint("met ", commits)
			long, got := make(chan int, 10), &tally{}
			topic := fanfare.NewTopic[string](id)
			r, err := topic.Register(t.Context(), t.d, func(ctx context.Context, what string) error {
				if what == "long" {
					info, _ := fanfare.DeliveryFrom(ctx)
					long <- info.Attempt
					<-time.After(7 * time.Second) // longer than two leases
				}
				got.add(what)
				return ctx.Err()
			})
			require.NoError(t, err)
			require.NoError(t, topic.Dispatch(t.Context(), t.d, "long"))
			require.Equal(t, 1, <-long)

			first, second := t.begin(sql.LevelReadCommitted), t.begin(sql.LevelReadCommitted)
			require.NoError(t, topic.Dispatch(t.Context(), t.d.InTx(first), "met", fanfare.ID(id)))
			met := make(chan error, 2)
			go func() { met <- topic.Dispatch(t.Context(), t.d.InTx(second), "met", fanfare.ID(id)) }()
			short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			begin := time.Now()
			err = topic.Dispatch(short, t.d, "met", fanfare.ID(id))
			require.True(t, errors.Is(err, fanfare.ErrUnavailable) || t.dialect == sqlqueue.Postgres && errors.Is(err, fanfare.ErrUnknownOutcome), err)
			require.Less(t, time.Since(begin), 200*time.Millisecond+late)
			cancel()
			for n := range 100 {
				require.NoError(t, topic.Dispatch(t.Context(), t.d, fmt.Sprint(n)))
			}
			require.Eventually(t, func() bool { return len(got.all()) == 101 }, patience, 5*time.Millisecond, "all others were handled")
			require.Empty(t, long, "its lease was renewed")
			require.Empty(t, met)
			if commits {
				require.NoError(t, first.Commit())
				require.ErrorIs(t, <-met, fanfare.ErrDuplicate)
				require.NoError(t, second.Rollback())
			} else {
				require.NoError(t, first.Rollback())
				require.NoError(t, <-met)
				require.NoError(t, second.Commit())
			}
			behaviour.Eventually(t.T, func() bool { return got.all()["met"] == 1 }, "handled")
			require.NoError(t, t.d.Remove(t.Context(), r))
		}
	}, fanfare.WithLease(3*time.Second))
}

func TestTxAckEndsTheEventWithTheCommit(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		runs, failures := &tally{}, map[string]error{"rolled back": errors.New("no luck"), "committed": nil, "forgotten": nil}
		_, err := text.Register(t.Context(), t.d, func(ctx context.Context, id string) error {
			tx, err := t.db.BeginTx(ctx, nil)
			if err != nil {
				return err // SQLite: somebody else writes
			}
			defer tx.Rollback()
			runs.add(id)
			again := runs.all()[id] > 1
			if err := t.insertOrder(ctx, tx, t.prefix, id); err != nil {
				return err
			}
			if err := t.d.InTx(tx).Ack(ctx); err != nil {
				return err
			}
			if id == "committed" || again {
				return tx.Commit()
			}
			return failures[id]
		}, fanfare.Concurrency(1), fanfare.Fixed(time.Millisecond), fanfare.MaxAttempts(fanfare.Unlimited))
		require.NoError(t, err)
		for id := range failures {
			require.NoError(t, text.Dispatch(t.Context(), t.d, id, fanfare.ID(id)))
		}
		behaviour.Eventually(t.T, func() bool { return len(t.ordersIn(t.T, t.db, t.prefix)) == 3 }, "all effects")
		drained(t.T, t.d)
		require.Equal(t, map[string]int{"rolled back": 2, "committed": 1, "forgotten": 2}, runs.all())
	}, fanfare.WithLease(time.Second))
}

// TestTxAckKeepsTheEventPastItsLease looks whether somebody else gets what a
// transaction that is open has acked.
func TestTxAckKeepsTheEventPastItsLease(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		for _, commits := range []bool{true, false} {
			q := t.d.Queue(fmt.Sprint("commits ", commits), "")
			require.NoError(t, t.d.Dispatch(t.Context(), fmt.Sprint("commits ", commits), "x"))
			held, err := q.Claim(t.Context(), 1, time.Second)
			require.NoError(t, err)
			require.Len(t, held, 1)
			tx := t.begin(sql.LevelReadCommitted)
			require.NoError(t, held[0].AckTx(t.Context(), tx))
			wait, locked := patience, t.dialect == sqlqueue.SQLite // the database, not the event alone
			if locked {
				wait = 200 * time.Millisecond
			}
			for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				others, err := q.Claim(ctx, 1, time.Minute)
				cancel()
				require.True(t, err == nil || locked && errors.Is(err, fanfare.ErrUnavailable), err)
				require.Empty(t, others, "while the transaction is open")
			}
			if commits {
				require.NoError(t, tx.Commit())
				others, err := q.Claim(t.Context(), 1, time.Minute)
				require.NoError(t, err)
				require.Empty(t, others)
				require.NoError(t, held[0].Ack(t.Context()), "it is acked already")
				continue
			}
			require.NoError(t, tx.Rollback())
			behaviour.Eventually(t.T, func() bool {
				others, err := q.Claim(t.Context(), 1, time.Minute)
				require.NoError(t, err)
				return len(others) == 1
			}, "its lease has run out")
			require.ErrorIs(t, held[0].Ack(t.Context()), fanfare.ErrLeaseLost)
		}
	})
}

// TestTxIsolation has a transaction of each level dispatch an id that somebody
// else stored after the transaction first read.
func TestTxIsolation(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		if t.dialect == sqlqueue.SQLite {
			return // where only one transaction writes at a time
		}
		require.NoError(t, t.d.Queue(text.Name(), "").Create(t.Context()))
		for _, level := range []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
			id := fmt.Sprint(level)
			tx := t.begin(level)
			require.NoError(t, text.Dispatch(t.Context(), t.d.InTx(tx), "x", fanfare.ID(id+" own")))
			require.NoError(t, text.Dispatch(t.Context(), t.d, "x", fanfare.ID(id)))
			err := text.Dispatch(t.Context(), t.d.InTx(tx), "x", fanfare.ID(id))
			if errors.Is(err, fanfare.ErrDuplicate) {
				require.NoError(t, tx.Commit(), id)
			} else {
				t.Logf("%s: %v", id, err)
				require.ErrorIs(t, err, fanfare.ErrUnavailable, id)
				require.NoError(t, tx.Rollback())
				err := inTx(t.Context(), t.db, func(tx *sql.Tx) error {
					return text.Dispatch(t.Context(), t.d.InTx(tx), "x", fanfare.ID(id+" own"))
				})
				require.NoError(t, err, "again")
			}
		}
		require.Len(t, t.waiting(""), 8)
	})
}
