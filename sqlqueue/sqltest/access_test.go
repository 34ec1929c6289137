package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// as makes a user who is granted some verbs on all tables, and returns a source
// by which they connect.
func (e engine) as(t *testing.T, db *sql.DB, source, user, verbs string) string {
	t.Helper()
	statements := []string{"CREATE USER " + user, "GRANT " + verbs + " ON fanfare.* TO " + user}
	if e.dialect == sqlqueue.Postgres {
		statements[1] = "GRANT " + verbs + " ON ALL TABLES IN SCHEMA public TO " + user
	}
	for _, text := range statements {
		_, err := db.ExecContext(t.Context(), text)
		require.NoError(t, err, text)
	}
	return strings.NewReplacer("root@", user+"@", "postgres@", user+"@").Replace(source)
}

func TestPermissions(t *testing.T) {
	eachServer(t, func(t *testing.T, e engine, server *testsvc.Server) {
		db := e.open(t, server.URL)
		sound := e.broker(t, db)
		least := e.open(t, e.as(t, db, server.URL, "least", "SELECT, INSERT, UPDATE, DELETE"))
		err := sqlqueue.Migrate(t.Context(), least, e.dialect, sqlqueue.WithPrefix("other_"))
		require.ErrorIs(t, err, driver.ErrDenied)
		require.NoError(t, sqlqueue.Migrate(t.Context(), least, e.dialect), "there is nothing to do")

		b, err := sqlqueue.New(least, e.dialect)
		require.NoError(t, err)
		d, err := fanfare.New(b)
		require.NoError(t, err)
		behaviour.StopWith(t, d)
		_, err = text.Register(t.Context(), d, func(ctx context.Context, what string) error {
			if info, _ := fanfare.DeliveryFrom(ctx); what == "poison" || info.Attempt == 1 {
				return errors.New("not yet")
			}
			return nil
		}, fanfare.MaxAttempts(2), fanfare.Fixed(time.Millisecond))
		require.NoError(t, err)
		for n := range 100 {
			require.NoError(t, text.Dispatch(t.Context(), d, fmt.Sprint(n)))
		}
		require.NoError(t, text.Dispatch(t.Context(), d, "poison"))
		drained(t, d)
		require.EqualValues(t, 100, d.Stats().Handled)
		dead, err := d.Queue(text.Name(), "").Dead(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Len(t, dead, 1)
		require.NoError(t, d.Queue(text.Name(), "").Requeue(t.Context(), dead[0].ID))
		require.NoError(t, d.Queue(text.Name(), "").Delete(t.Context()))

		reader, err := sqlqueue.New(e.open(t, e.as(t, db, server.URL, "reader", "SELECT")), e.dialect)
		require.NoError(t, err)
		s := &scene{T: t, b: sound, q: driver.Queue{Topic: "t", Group: "g"}}
		s.subscribe("g")
		s.push(messages(abc...)...)
		_, err = reader.Push(t.Context(), "t", messages("d"))
		require.ErrorIs(t, err, driver.ErrDenied)
		_, err = reader.Claim(t.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
		require.ErrorIs(t, err, driver.ErrDenied)
		s.either("g", []string{"a", "b", "c", "d"}, []string{"ready 0 0", "ready 0 0", "ready 0 0", "none"}, nil)
		_, err = reader.Status(t.Context())
		require.NoError(t, err)
	})
}

func TestReadOnly(t *testing.T) {
	set := map[string][2]string{ // and back
		"mariadb":  {"SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"},
		"postgres": {"ALTER ROLE least SET default_transaction_read_only = on", "ALTER ROLE least SET default_transaction_read_only = off"},
	}
	eachServer(t, func(t *testing.T, e engine, server *testsvc.Server) {
		admin := e.open(t, server.URL)
		e.broker(t, admin)
		db := e.open(t, e.as(t, admin, server.URL, "least", "SELECT, INSERT, UPDATE, DELETE"))
		db.SetMaxIdleConns(-1) // settings are of connections
		b, err := sqlqueue.New(db, e.dialect)
		require.NoError(t, err)
		readOnly(t, b, func(on bool) {
			text := set[e.name][1]
			if on {
				text = set[e.name][0]
			}
			_, err := admin.ExecContext(t.Context(), text)
			require.NoError(t, err)
		})
	})
	t.Run("sqlite", func(t *testing.T) {
		e := engines[2]
		db := e.open(t, e.source(t))
		db.SetMaxOpenConns(1)
		readOnly(t, e.broker(t, db), func(on bool) {
			_, err := db.ExecContext(t.Context(), fmt.Sprintf("PRAGMA query_only = %v", on))
			require.NoError(t, err)
		})
	})
}

// readOnly looks at what a broker does whose database is read-only for a while.
func readOnly(t *testing.T, b *sqlqueue.Broker, set func(on bool)) {
	t.Helper()
	s := &scene{T: t, b: b, q: driver.Queue{Topic: "t", Group: "g"}}
	s.subscribe("g")
	s.push(messages("held")...)
	s.claim(1)
	s.push(messages(abc...)...)
	set(true)
	for name, err := range everything(t, b, s.q, s.held) {
		switch name {
		case "Wait", "Status", "List", "Get":
			require.NoError(t, err, name)
		case "Unsubscribe", "Purge", "Cancel", "Reschedule", "Requeue", "DeleteDead": // there is nothing for them
			require.True(t, err == nil || errors.Is(err, driver.ErrReadOnly), "%s: %v", name, err)
		default:
			require.ErrorIs(t, err, driver.ErrReadOnly, name)
			require.ErrorIs(t, err, driver.ErrUnavailable, name)
		}
	}
	set(false)
	s.either("g", abc, times(3, "ready 0 0"), nil)
	for name, err := range everything(t, b, s.q, s.held) {
		require.NoError(t, err, name)
	}
}

// TestFullDisk lets a file of SQLite not grow any more. Then claims and acks have
// no space either, but nothing is lost, and all goes on when there is some.
func TestFullDisk(t *testing.T) {
	e := engines[2]
	source := e.source(t)
	b := e.broker(t, e.open(t, source))
	limited, err := sqlqueue.New(e.open(t, source+"&_pragma=max_page_count(200)"), e.dialect)
	require.NoError(t, err)
	s := &scene{T: t, b: limited, q: driver.Queue{Topic: text.Name(), Group: driver.DefaultGroup}}
	s.subscribe(driver.DefaultGroup)
	stored := 0
	for ; ; stored++ {
		_, err := limited.Push(t.Context(), s.q.Topic, []driver.Message{{ID: fmt.Sprint(stored), Body: make([]byte, stored%3000)}})
		if err != nil {
			require.ErrorIs(t, err, driver.ErrFull)
			break
		}
	}
	require.Greater(t, stored, 100)
	for { // as long as there is some space left in the pages
		c, err := limited.Claim(t.Context(), s.q, driver.ClaimRequest{Limit: 10, Lease: time.Microsecond})
		if err != nil {
			require.ErrorIs(t, err, driver.ErrFull)
			break
		}
		require.NotEmpty(t, c.Deliveries)
	}
	ran := &tally{}
	drain(t.Context(), t, b, s.q, ran)
	require.Len(t, ran.all(), stored)
	for id, n := range ran.all() {
		require.Equal(t, 1, n, id)
	}
	_, err = limited.Push(t.Context(), s.q.Topic, messages("again"))
	require.NoError(t, err, "what ended left its space")
}

// TestLockedSQLite lets another connection hold the lock of a file.
func TestLockedSQLite(t *testing.T) {
	e := engines[2]
	source := e.source(t)
	d, other := e.dispatcher(t, e.open(t, source)), e.open(t, source+"&_pragma=busy_timeout(10000)")
	got := consume(t, d)
	for range 3 {
		tx, err := other.BeginTx(t.Context(), nil) // IMMEDIATE
		require.NoError(t, err)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		require.ErrorIs(t, text.Dispatch(ctx, d, "refused"), fanfare.ErrUnavailable)
		cancel()
		require.Less(t, time.Since(begin), 200*time.Millisecond+late)
		ok := make(chan error, 1)
		go func() { ok <- text.Dispatch(t.Context(), d, "waits") }()
		select {
		case err := <-ok:
			t.Fatalf("dispatch while the file is locked: %v", err)
		case <-time.After(300 * time.Millisecond):
		}
		require.NoError(t, tx.Rollback())
		require.NoError(t, <-ok)
	}
	drained(t, d)
	require.Equal(t, map[string]int{"waits": 3}, got.all())
}
