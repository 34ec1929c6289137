package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// engine is a kind of database.
type engine struct {
	name    string
	driver  string
	dialect sqlqueue.Dialect
	source  func(t testing.TB) string // starts it if need be
}

var engines = []engine{
	{"mariadb", "mysql", sqlqueue.MySQL, func(t testing.TB) string { return testsvc.MariaDB(t).URL }},
	{"postgres", "pgx", sqlqueue.Postgres, func(t testing.TB) string { return testsvc.Postgres(t).URL }},
	{"sqlite", "sqlite", sqlqueue.SQLite, func(t testing.TB) string {
		return "file:" + filepath.Join(t.TempDir(), "events.db") + "?_txlock=immediate"
	}},
}

func (e engine) open(t testing.TB, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(e.driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newPrefix() string { return fmt.Sprintf("t%d_", rand.Uint32()) }

// broker returns one on tables of its own.
func (e engine) broker(t testing.TB, db *sql.DB, opts ...sqlqueue.Option) *sqlqueue.Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := sqlqueue.Migrate(ctx, db, e.dialect, opts...); err != nil {
		t.Fatal(err)
	}
	b, err := sqlqueue.New(db, e.dialect, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// eachEngine runs a test on every kind of database.
func eachEngine(t *testing.T, test func(t *testing.T, e engine)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, e) })
	}
}

func TestConformance(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		source, prefix := e.source(t), newPrefix()
		db := e.open(t, source)
		db.SetMaxOpenConns(20)
		windows := map[driver.Broker]time.Duration{}
		var mu = make(chan struct{}, 1)
		open := func(t testing.TB, window time.Duration) driver.Broker {
			b := e.broker(t, db, sqlqueue.WithPrefix(prefix), sqlqueue.WithDedupWindow(window))
			mu <- struct{}{}
			windows[b] = window
			<-mu
			return b
		}
		drivertest.Run(t, drivertest.Harness{
			New: open,
			Reopen: func(t testing.TB, b driver.Broker) driver.Broker {
				mu <- struct{}{}
				w := windows[b]
				<-mu
				return open(t, w)
			},
		})
	})
}
