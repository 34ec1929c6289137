package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// eachScene runs a test on every kind of database, with a topic that has a group.
func eachScene(t *testing.T, test func(s *scene, e engine, db *sql.DB), opts ...sqlqueue.Option) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		db := e.open(t, e.source(t))
		s := &scene{T: t, name: e.name, q: driver.Queue{Topic: "t", Group: "g"}}
		s.b = e.broker(t, db, append(opts, sqlqueue.WithPrefix(newPrefix()))...)
		s.subscribe("g")
		test(s, e, db)
	})
}

// settle ends the claim of what was claimed first.
func (s *scene) settle(v driver.Verb) {
	s.Helper()
	outcomes, err := s.b.Settle(s.Context(), s.q, []driver.Settlement{{Receipt: s.held[0].Receipt, Verb: v}})
	require.NoError(s, err)
	require.NoError(s, outcomes[0])
}

func runAgain(id string) driver.Message {
	return driver.Message{ID: id, Conflict: driver.RunAgain, Body: []byte("again")}
}

func TestCancelRemovesWhatIsKeptBesideARetry(t *testing.T) {
	eachScene(t, func(s *scene, _ engine, _ *sql.DB) {
		s.push(messages("x")...)
		s.claim(1)
		s.push(runAgain("x"))
		s.settle(driver.Retry)
		ok, err := s.b.Cancel(s.Context(), s.q.Topic, "x")
		require.NoError(s, err)
		require.True(s, ok)
		s.push(messages("x")...)
		s.claim(1)
		s.push(runAgain("x"))
		s.settle(driver.Ack)
		require.Equal(s, "ready 0 0", s.look("g", "x"))
	})
}

// TestAtMostOnceLeavesWhatIsKept claims with an ack what another consumer let
// wait again that claims without.
func TestAtMostOnceLeavesWhatIsKept(t *testing.T) {
	eachScene(t, func(s *scene, _ engine, _ *sql.DB) {
		s.push(messages("x")...)
		s.claim(1)
		s.push(runAgain("x"))
		s.settle(driver.Retry)
		for _, body := range []string{"x", "again"} {
			c, err := s.b.Claim(s.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute, AtMostOnce: true})
			require.NoError(s, err)
			require.Len(s, c.Deliveries, 1, "the event with body %q is lost", body)
			require.Equal(s, body, string(c.Deliveries[0].Body))
			require.Equal(s, body == "x", c.Next == 0)
		}
		require.Equal(s, "none", s.look("g", "x"))
	})
}

// TestSuccessorWakes lets nothing but a wake tell of what RunAgain kept.
func TestSuccessorWakes(t *testing.T) {
	eachScene(t, func(s *scene, _ engine, db *sql.DB) {
		for _, settle := range []func(){
			func() { s.settle(driver.Ack) },
			func() {
				require.NoError(s, inTx(s.Context(), db, func(tx *sql.Tx) error {
					_, err := s.b.InTx(tx).Settle(s.Context(), s.q, []driver.Settlement{{Receipt: s.held[0].Receipt}})
					return err
				}))
			},
		} {
			s.push(driver.Message{ID: "x", Conflict: driver.Replace})
			s.claim(1)
			s.push(runAgain("x"))
			require.NoError(s, s.b.Wait(s.Context(), s.q, 0)) // has the wakes so far
			woken := make(chan error, 1)
			go func() { woken <- s.b.Wait(s.Context(), s.q, time.Hour) }()
			settle()
			select {
			case err := <-woken:
				require.NoError(s, err)
			case <-time.After(patience):
				s.Fatal("nobody was woken")
			}
			s.claim(1)
			s.settle(driver.Ack)
		}
	}, sqlqueue.WithPollInterval(time.Hour))
}

// TestTxAckOfALostLease acks in transactions that have read before somebody else
// claimed the event.
func TestTxAckOfALostLease(t *testing.T) {
	eachScene(t, func(s *scene, e engine, db *sql.DB) {
		if e.dialect == sqlqueue.SQLite {
			return // where nobody else writes meanwhile
		}
		for _, level := range []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead} {
			s.push(driver.Message{ID: level.String()})
			s.held = nil
			c, err := s.b.Claim(s.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: time.Millisecond})
			require.NoError(s, err)
			lost := c.Deliveries[0].Receipt
			tx, err := db.BeginTx(s.Context(), &sql.TxOptions{Isolation: level})
			require.NoError(s, err)
			defer func() { _ = tx.Rollback() }()
			_, err = s.b.InTx(tx).Settle(s.Context(), s.q, []driver.Settlement{{Receipt: driver.Receipt{ID: "none", Token: "1"}}}) // reads our tables
			require.NoError(s, err)
			s.claim(1)
			outcomes, err := s.b.InTx(tx).Settle(s.Context(), s.q, []driver.Settlement{{Receipt: lost}})
			if err == nil {
				require.ErrorIs(s, outcomes[0], driver.ErrLeaseLost, level)
			} else {
				require.ErrorIs(s, err, driver.ErrUnavailable, level)
			}
			require.NoError(s, tx.Rollback())
			s.settle(driver.Ack)
		}
	})
}

func TestFarFuture(t *testing.T) {
	eachScene(t, func(s *scene, _ engine, _ *sql.DB) {
		for i, at := range []time.Time{
			time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Unix(1<<40, 0), time.Unix(1<<60, 0),
		} {
			s.push(driver.Message{ID: fmt.Sprint("far ", i), At: at, Priority: driver.Low})
			c, err := s.b.Claim(s.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
			require.NoError(s, err)
			require.Greater(s, c.Next, 200*365*24*time.Hour, at)
			require.NoError(s, s.b.Wait(s.Context(), s.q, 0)) // has the wakes so far
			begin := time.Now()
			require.NoError(s, s.b.Wait(s.Context(), s.q, 300*time.Millisecond))
			require.GreaterOrEqual(s, time.Since(begin), 300*time.Millisecond, at)
			s.push(driver.Message{ID: "near", Delay: time.Hour})
			c, err = s.b.Claim(s.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
			require.NoError(s, err)
			require.InDelta(s, time.Hour, c.Next, float64(time.Minute), at)
			_, err = s.b.Purge(s.Context(), s.q)
			require.NoError(s, err)
		}
	})
}

// TestGreatBodies stores the greatest body, and what is greater than one packet
// may be by its groups alone, through a driver that escapes each byte.
func TestGreatBodies(t *testing.T) {
	for _, query := range []string{"", "?interpolateParams=true"} {
		e := engines[0]
		b := e.broker(t, e.open(t, e.source(t)+query), sqlqueue.WithPrefix(newPrefix()))
		s := &scene{T: t, b: b, name: query, q: driver.Queue{Topic: "t", Group: "g"}}
		s.push(driver.Message{ID: "greatest", Body: make([]byte, b.Capabilities().MaxBody)})
		for i := range 20 {
			s.subscribe(fmt.Sprint(i))
		}
		s.push(driver.Message{ID: "for many", Body: make([]byte, 1<<20)})
	}
}

// TestManyGroups has more groups than a statement has parameters for.
func TestManyGroups(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		db, prefix := e.open(t, e.source(t)), newPrefix()
		s := &scene{T: t, b: e.broker(t, db, sqlqueue.WithPrefix(prefix)), q: driver.Queue{Topic: "t", Group: "g"}}
		s.subscribe("g")
		insert := "INSERT INTO " + prefix + "queues (topic, grp, subscribed, paused) SELECT q.topic, "
		n := map[sqlqueue.Dialect]string{
			sqlqueue.MySQL:    "CONCAT('g', s.seq), 1, 0 FROM " + prefix + "queues q, seq_1_to_8000 s",
			sqlqueue.Postgres: "convert_to('g' || s, 'UTF8'), 1, 0 FROM " + prefix + "queues q, generate_series(1, 8000) s",
			sqlqueue.SQLite: "CAST('g' || s AS BLOB), 1, 0 FROM " + prefix + "queues q," +
				" (WITH RECURSIVE c(s) AS (SELECT 1 UNION ALL SELECT s + 1 FROM c WHERE s < 8000) SELECT s FROM c)",
		}[e.dialect]
		_, err := db.ExecContext(t.Context(), insert+n)
		require.NoError(t, err)
		s.push(messages("x")...)
		require.Equal(t, "ready 0 0", s.look("g8000", "x"))
	})
}

// TestGroupsComeBack empties the tables while consumers are silent for so long
// that they are to be written down first, and something is dispatched.
func TestGroupsComeBack(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		db, prefix := e.open(t, e.source(t)), newPrefix()
		s := &scene{T: t, b: e.broker(t, db, sqlqueue.WithPrefix(prefix)), q: driver.Queue{Topic: "t"}}
		groups := []string{"g", driver.DefaultGroup}
		claim := func() {
			for _, s.q.Group = range groups {
				_, err := s.b.Claim(t.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute, Consumer: "c"})
				require.NoError(t, err)
			}
		}
		for _, g := range groups {
			s.subscribe(g)
		}
		claim()
		_, err := db.ExecContext(t.Context(), "DELETE FROM "+prefix+"queues")
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), "DELETE FROM "+prefix+"consumers")
		require.NoError(t, err)
		s.push(messages("lost")...)           // for want of groups to the default one
		<-time.After(4100 * time.Millisecond) // then consumers are written down again
		claim()
		s.push(messages("x")...)
		for _, g := range groups {
			require.Equal(t, "ready 0 0", s.look(g, "x"), g)
		}
	})
}

// TestLevelIsNotLeft lets a call end between the two statements that begin a
// transaction, and looks at what the next one on the connection is.
func TestLevelIsNotLeft(t *testing.T) {
	e, prefix := engines[0], newPrefix()
	p, db := e.tapped(t, e.source(t))
	db.SetMaxOpenConns(1)
	b := e.broker(t, db, sqlqueue.WithPrefix(prefix))
	ctx, cancel := context.WithCancel(t.Context())
	p.set(func(s statement) loss {
		if s.text == "START TRANSACTION" {
			cancel()
		}
		return kept
	})
	_, err := b.Push(ctx, "t", messages("x"))
	require.ErrorIs(t, err, driver.ErrUnavailable)
	p.set(nil)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	count := func() (n int) {
		require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+prefix+"queues").Scan(&n))
		return n
	}
	require.Zero(t, count())
	other := e.broker(t, e.open(t, e.source(t)), sqlqueue.WithPrefix(prefix))
	require.NoError(t, other.Subscribe(t.Context(), driver.Queue{Topic: "t", Group: "g"}))
	require.Zero(t, count(), "it is to be REPEATABLE READ")
}
