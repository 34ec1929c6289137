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
	"golang.org/x/sync/errgroup"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// everything calls a broker in every way and returns the errors by name.
func everything(t *testing.T, b *sqlqueue.Broker, q driver.Queue, held []driver.Delivery) map[string]error {
	t.Helper()
	s := &scene{T: t, q: q, held: held}
	errs := map[string]error{}
	for name, call := range s.calls(b) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		errs[name] = call(ctx)
		cancel()
	}
	return errs
}

var nobody = []driver.Delivery{{Receipt: driver.Receipt{ID: "a", Token: "1"}}}

func TestTablesAreMissing(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		b, err := sqlqueue.New(e.open(t, e.source(t)), e.dialect, sqlqueue.WithPrefix(newPrefix()))
		require.NoError(t, err)
		for name, err := range everything(t, b, driver.Queue{Topic: "t", Group: "g"}, nobody) {
			require.ErrorIs(t, err, driver.ErrSchema, name)
			require.ErrorContains(t, err, "sqlqueue.Migrate", name)
		}
	})
}

func TestTablesOfAnotherVersion(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		b := t.broker(t, t.db, sqlqueue.WithPrefix(t.prefix)) // which runs when the version is changed
		s := &scene{T: t.T, b: b, q: driver.Queue{Topic: "t", Group: "g"}}
		s.bury()
		s.push(messages("d")...)
		s.claim(1)
		for _, tt := range []struct{ change, cure string }{
			{"UPDATE " + t.prefix + "schema SET version = 2", "update the program"},
			{"UPDATE " + t.prefix + "schema SET version = 0", "sqlqueue.Migrate"},
			{"DELETE FROM " + t.prefix + "schema", "sqlqueue.Migrate"},
		} {
			change, cure := tt.change, tt.cure
			_, err := t.db.ExecContext(t.Context(), change)
			require.NoError(t, err)
			before := t.dump()
			for name, err := range everything(t.T, b, s.q, s.held) {
				if name == "Wait" && err == nil {
					continue // it was woken before
				}
				require.ErrorIs(t, err, driver.ErrSchema, "%s after %s", name, change)
				require.ErrorContains(t, err, cure, name)
			}
			if cure == "update the program" {
				err := sqlqueue.Migrate(t.Context(), t.db, t.dialect, sqlqueue.WithPrefix(t.prefix))
				require.ErrorIs(t, err, driver.ErrSchema)
			}
			require.Equal(t, before, t.dump(), "nothing is to be changed")
		}
	})
}

// dump returns all rows of the tables.
func (t *inTables) dump() string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"schema", "queues", "events", "again", "dead", "consumers"} {
		rows, err := t.db.QueryContext(t.Context(), "SELECT * FROM "+t.prefix+table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, to := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				to[i] = &values[i]
			}
			require.NoError(t, rows.Scan(to...))
			fmt.Fprintln(&all, table, values)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	return all.String()
}

type noListener struct{}

func (noListener) Listen(context.Context, string, func(), func(string)) error { return nil }

func TestArgumentsThatAreRefused(t *testing.T) {
	db := engines[2].open(t, "file:never.db")
	for name, tt := range map[string]struct {
		db      *sql.DB
		dialect sqlqueue.Dialect
		opts    []sqlqueue.Option
	}{
		"no database":       {nil, sqlqueue.SQLite, nil},
		"no dialect":        {db, 0, nil},
		"unknown dialect":   {db, 99, nil},
		"nil option":        {db, sqlqueue.SQLite, []sqlqueue.Option{nil}},
		"no prefix":         {db, sqlqueue.SQLite, []sqlqueue.Option{sqlqueue.WithPrefix("")}},
		"prefix with a dot": {db, sqlqueue.SQLite, []sqlqueue.Option{sqlqueue.WithPrefix("other.")}},
		"prefix with SQL":   {db, sqlqueue.SQLite, []sqlqueue.Option{sqlqueue.WithPrefix("x; DROP TABLE y")}},
		"prefix too long":   {db, sqlqueue.SQLite, []sqlqueue.Option{sqlqueue.WithPrefix(strings.Repeat("x", 41))}},
		"negative window":   {db, sqlqueue.SQLite, []sqlqueue.Option{sqlqueue.WithDedupWindow(-1)}},
		"no poll":           {db, sqlqueue.SQLite, []sqlqueue.Option{sqlqueue.WithPollInterval(0)}},
		"nil Listener":      {db, sqlqueue.Postgres, []sqlqueue.Option{sqlqueue.WithListener(nil)}},
		"Listener of MySQL": {db, sqlqueue.MySQL, []sqlqueue.Option{sqlqueue.WithListener(noListener{})}},
	} {
		_, err := sqlqueue.New(tt.db, tt.dialect, tt.opts...)
		require.ErrorIs(t, err, driver.ErrInvalid, name)
		require.ErrorIs(t, sqlqueue.Migrate(t.Context(), tt.db, tt.dialect, tt.opts...), driver.ErrInvalid, name)
		if tt.db != nil && name != "Listener of MySQL" {
			_, err = sqlqueue.Schema(tt.dialect, tt.opts...)
			require.ErrorIs(t, err, driver.ErrInvalid, name)
		}
	}
}

func TestMigrateAtTheSameTime(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		source, prefix := e.source(t), newPrefix()
		for range 2 { // the second time there is nothing to do
			var all errgroup.Group
			for range 8 {
				db := e.open(t, source) // as another process has
				all.Go(func() error {
					return sqlqueue.Migrate(t.Context(), db, e.dialect, sqlqueue.WithPrefix(prefix))
				})
			}
			require.NoError(t, all.Wait())
			s := &scene{T: t, b: e.broker(t, e.open(t, source), sqlqueue.WithPrefix(prefix)), q: driver.Queue{Topic: prefix, Group: "g"}}
			if outcomes, err := s.b.Push(t.Context(), prefix, messages("x")); err != nil || outcomes[0] != nil && !errors.Is(outcomes[0], driver.ErrDuplicate) {
				t.Fatal(outcomes, err)
			}
		}
	})
}

func TestSchemaByHand(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		db, prefix := e.open(t, e.source(t)), sqlqueue.WithPrefix(newPrefix())
		all, err := sqlqueue.Schema(e.dialect, prefix)
		require.NoError(t, err)
		for statement := range strings.SplitSeq(all, ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
		s := &scene{T: t, b: e.broker(t, db, prefix), q: driver.Queue{Topic: "t", Group: "g"}} // Migrate finds nothing to do
		s.settleAll(driver.Bury)
		require.Equal(t, "dead 1 1", s.look("g", "a"))
	})
}

// TestQueuesOfOneProcessAreApart has two prefixes in one database, and another database.
func TestQueuesOfOneProcessAreApart(t *testing.T) {
	first, second := newPrefix(), newPrefix() // the same in all databases
	eachEngine(t, func(t *testing.T, e engine) {
		db := e.open(t, e.source(t))
		var all []*scene
		for _, prefix := range []string{first, second} {
			all = append(all, &scene{T: t, b: e.broker(t, db, sqlqueue.WithPrefix(prefix)), q: driver.Queue{Topic: "t", Group: "g"}, name: e.name + prefix})
		}
		for _, s := range all {
			s.subscribe("g")
			s.push(driver.Message{ID: "a", Body: []byte(s.name)})
		}
		for _, s := range all {
			s.claim(1)
			require.Equal(t, s.name, string(s.held[0].Body))
			c, err := s.b.Claim(t.Context(), s.q, driver.ClaimRequest{Limit: 9, Lease: time.Minute})
			require.NoError(t, err)
			require.Empty(t, c.Deliveries)
		}
	})
}

// Tables that somebody else emptied are not taken for none.
func TestEmptiedVersionIsRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		db, prefix := e.open(t, e.source(t)), newPrefix()
		b := e.broker(t, db, sqlqueue.WithPrefix(prefix))
		_, err := db.ExecContext(t.Context(), "DELETE FROM "+prefix+"schema")
		require.NoError(t, err)
		require.ErrorIs(t, b.Subscribe(t.Context(), driver.Queue{Topic: "t", Group: "g"}), driver.ErrSchema)
		err = sqlqueue.Migrate(t.Context(), db, e.dialect, sqlqueue.WithPrefix(prefix))
		if e.dialect == sqlqueue.MySQL { // a Migrate that was killed leaves the same, and is made up for
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, driver.ErrSchema)
	})
}
