package sqlqueue

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

//go:embed schema/*.sql
var layouts embed.FS

// layoutVersion is the version of the tables that this package works with.
const layoutVersion = 1

// Schema returns the statements that make the tables from nothing, for those who
// change their databases by other means than [Migrate]. Of the options only
// WithPrefix counts.
func Schema(dialect Dialect, opts ...Option) (string, error) {
	o, err := newOptions(opts)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for version := 1; version <= layoutVersion; version++ {
		text, err := layout(dialect, version, o.prefix)
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return all.String(), nil
}

// layout returns the statements that lead from the version before to this one.
func layout(dialect Dialect, version int, prefix string) (string, error) {
	if _, ok := grammars[dialect]; !ok {
		return "", fmt.Errorf("sqlqueue: %v, want MySQL, Postgres or SQLite: %w", dialect, driver.ErrInvalid)
	}
	text, err := layouts.ReadFile(fmt.Sprintf("schema/%v-%d.sql", dialect, version))
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("{", prefix, "}", "").Replace(string(text)), nil
}

// Migrate makes the tables, or changes those of an older version to what this
// version needs, and does nothing if they are up to date. Several processes may
// call it at the same time. It keeps all events. Its error matches
// driver.ErrSchema if the tables are of a newer version. It needs the permission
// to create tables; a Broker needs only SELECT, INSERT, UPDATE and DELETE.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect, opts ...Option) error {
	b, err := New(db, dialect, opts...)
	if err != nil {
		return err
	}
	return b.repeat(ctx, func(s session) error { return s.migrate(ctx) })
}

func (s session) migrate(ctx context.Context) error {
	switch s.dialect {
	case MySQL: // where each statement that changes a table is a transaction
		return s.alone(ctx, "SELECT GET_LOCK(?, 60)", "SELECT RELEASE_LOCK(?)", s.upgrade)
	case SQLite:
		if err := s.each(ctx, ignore, "PRAGMA journal_mode = WAL"); err != nil {
			return err
		}
	}
	err := s.write(ctx, func(s session) error {
		if s.dialect == Postgres { // until the transaction ends
			if err := s.each(ctx, ignore, "SELECT pg_advisory_xact_lock(hashtext(?))", s.prefix); err != nil {
				return err
			}
		}
		return s.upgrade(ctx)
	})
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "COMMIT")
	return err
}

// alone runs f while it holds a lock of the connection.
func (s session) alone(ctx context.Context, lock, unlock string, f func(ctx context.Context) error) error {
	var got sql.NullInt64
	err := s.each(ctx, func(scan func(...any) error) error { return scan(&got) }, lock, s.prefix+"migrate")
	if err != nil {
		return err
	}
	if got.Int64 != 1 {
		return fmt.Errorf("another process migrates: %w", driver.ErrUnavailable)
	}
	defer func() { _ = s.each(ctx, ignore, unlock, s.prefix+"migrate") }() // or it ends with the connection
	return f(ctx)
}

// upgrade runs what leads from the version of the tables to ours.
func (s session) upgrade(ctx context.Context) error {
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	if version > layoutVersion {
		return checkVersion(version)
	}
	for version++; version <= layoutVersion; version++ {
		text, err := layout(s.dialect, version, s.prefix)
		if err != nil {
			return err
		}
		for statement := range strings.SplitSeq(text, ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := s.exec(ctx, statement); err != nil {
				return fmt.Errorf("to version %d: %w", version, err)
			}
		}
	}
	return nil
}

// version returns that of the tables, or 0 if there are none.
func (s session) version(ctx context.Context) (int, error) {
	exists := map[Dialect]string{
		MySQL:    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
		Postgres: "SELECT COUNT(to_regclass(?::text))",
		SQLite:   "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
	}[s.dialect]
	tables, version := 0, 0
	number := func(n *int) func(func(...any) error) error {
		return func(scan func(...any) error) error { return scan(n) }
	}
	if err := s.each(ctx, number(&tables), exists, s.prefix+"schema"); err != nil || tables == 0 {
		return 0, err
	}
	err := s.each(ctx, number(&version), "SELECT version FROM {schema}")
	if err == nil && version == 0 && s.dialect != MySQL { // there the row comes last, in a transaction of its own
		err = checkVersion(0)
	}
	return version, err
}

// ignore is for queries whose result does not matter.
func ignore(func(...any) error) error { return nil }
