package sqltest

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// durable fails unless the database of d is at a level, for a reason.
func durable(t *testing.T, d *fanfare.Durable, want fanfare.DurabilityLevel, reason string) {
	t.Helper()
	got, err := d.Durability(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Level != want || !strings.Contains(strings.Join(got.Reasons, "\n"), reason) {
		t.Errorf("Durability = %v %q, want %v and %q", got.Level, got.Reasons, want, reason)
	}
}

func open(t *testing.T, e engine, db *sql.DB, opts ...fanfare.Option) *fanfare.Durable {
	t.Helper()
	d, err := fanfare.New(e.broker(t, db, sqlqueue.WithPrefix(newPrefix())), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = d.Stop(ctx)
	})
	return d
}

func set(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestDurabilityOfMariaDB(t *testing.T) {
	t.Parallel()
	e := engines[0]
	db := e.open(t, testsvc.StartMariaDB(t, "--log-bin", "--binlog-format=ROW").URL)
	d := open(t, e, db)
	durable(t, d, fanfare.DurabilitySnapshot, "sync_binlog 0")
	set(t, db, "SET GLOBAL sync_binlog = 1")
	durable(t, d, fanfare.DurabilitySynced, "innodb_flush_log_at_trx_commit 1")
	set(t, db, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
	durable(t, d, fanfare.DurabilitySeconds, "innodb_flush_log_at_trx_commit 2")
}

func TestDurabilityOfPostgres(t *testing.T) {
	t.Parallel()
	e := engines[1]
	url := testsvc.StartPostgres(t, "-c", "fsync=on", "-c", "synchronous_commit=on").URL
	db := e.open(t, url)
	db.SetMaxOpenConns(1)
	d := open(t, e, db)
	durable(t, d, fanfare.DurabilitySynced, "synchronous_commit on")
	set(t, db, "SET synchronous_commit = off")
	durable(t, d, fanfare.DurabilitySeconds, "synchronous_commit off")
	db = e.open(t, testsvc.StartPostgres(t, "-c", "fsync=off").URL)
	durable(t, open(t, e, db), fanfare.DurabilityProcess, "fsync off")
}

func TestDurabilityOfSQLite(t *testing.T) {
	t.Parallel()
	e := engines[2]
	for pragma, want := range map[string]fanfare.DurabilityLevel{
		"OFF": fanfare.DurabilityProcess, "NORMAL": fanfare.DurabilitySnapshot, "FULL": fanfare.DurabilitySynced, "EXTRA": fanfare.DurabilitySynced,
	} {
		db := e.open(t, "file:"+filepath.Join(t.TempDir(), "events.db")+"?_txlock=immediate&_pragma=synchronous("+pragma+")")
		durable(t, open(t, e, db), want, "synchronous "+pragma)
	}
	db := e.open(t, "file:"+filepath.Join(t.TempDir(), "events.db"))
	db.SetMaxOpenConns(1)
	d := open(t, e, db)
	set(t, db, "PRAGMA journal_mode = delete")
	durable(t, d, fanfare.DurabilitySeconds, "journal_mode delete")
	memory := e.open(t, ":memory:")
	memory.SetMaxOpenConns(1)
	durable(t, open(t, e, memory), fanfare.DurabilityUnknown, "journal_mode memory")
}

// A transaction that has the only connection is not waited for.
func TestDurabilityIsNotAskedInATransaction(t *testing.T) {
	e := engines[2]
	db := e.open(t, e.source(t))
	db.SetMaxOpenConns(1)
	d := open(t, e, db, fanfare.RequireDurability(fanfare.DurabilitySynced))
	topic := fanfare.NewTopic[int]("number")
	dispatch := func() error {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := topic.Dispatch(ctx, d.InTx(tx), 1); err != nil {
			return err
		}
		return tx.Commit()
	}
	if err := dispatch(); err == nil || !strings.Contains(err.Error(), "call Durability before") {
		t.Errorf("Dispatch in a transaction = %v, want ErrNotDurable", err)
	}
	if _, err := d.Durability(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dispatch(); err != nil {
		t.Errorf("Dispatch in a transaction = %v", err)
	}
}
