package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// limit is the least that a queue in a database has to do: one INSERT for an
// event or for 100 of them, and a transaction that takes up to 100 events, stays
// open while they are handled, and removes them. It has no ids, delays, leases,
// retries or wake-ups.
type limit struct {
	db      *sql.DB
	dialect limitDialect
}

// limitDialect is what differs between the databases.
type limitDialect struct {
	key    string             // the type of a key that is counted up
	mark   func(n int) string // the nth parameter
	take   string             // returns up to 100 events, and locks or deletes them
	remove func(n int) string // deletes n of them by their keys; nil where take does
}

var (
	limitPostgres = limitDialect{
		key:  "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
		mark: func(n int) string { return fmt.Sprintf("($%d)", n) },
		take: "DELETE FROM bench WHERE id IN (SELECT id FROM bench ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING id, body",
	}
	limitMariaDB = limitDialect{
		key:    "bigint AUTO_INCREMENT PRIMARY KEY",
		mark:   func(int) string { return "(?)" },
		take:   "SELECT id, body FROM bench ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED",
		remove: func(n int) string { return "DELETE FROM bench WHERE id IN (?" + strings.Repeat(", ?", n-1) + ")" },
	}
	limitSQLite = limitDialect{
		key:  "integer PRIMARY KEY",
		mark: func(int) string { return "(?)" },
		take: "DELETE FROM bench WHERE id IN (SELECT id FROM bench ORDER BY id LIMIT 100) RETURNING id, body",
	}
)

func openLimitPostgres(ctx context.Context, url string) (queue, error) {
	return openLimit(ctx, "pgx", url, connections, limitPostgres)
}

func openLimitMariaDB(ctx context.Context, url string) (queue, error) {
	return openLimit(ctx, "mysql", url+"&interpolateParams=true", connections, limitMariaDB)
}

func openLimitSQLite(ctx context.Context, path string) (queue, error) {
	return openLimit(ctx, "sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)", 1, limitSQLite)
}

func openLimit(ctx context.Context, driver, source string, connections int, dialect limitDialect) (queue, error) {
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS bench (id "+dialect.key+", body varchar(200) NOT NULL)"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &limit{db, dialect}, nil
}

func (q *limit) insert(ctx context.Context, text string) error {
	return q.insertMany(ctx, []string{text})
}

func (q *limit) insertMany(ctx context.Context, texts []string) error {
	marks, args := make([]string, len(texts)), make([]any, len(texts))
	for i, text := range texts {
		marks[i], args[i] = q.dialect.mark(i+1), text
	}
	_, err := q.db.ExecContext(ctx, "INSERT INTO bench (body) VALUES "+strings.Join(marks, ", "), args...)
	return err
}

func (q *limit) consume(ctx context.Context, handlers int, handle func(text string)) (func(context.Context) error, error) {
	quit, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error {
		for quit.Err() == nil {
			n, err := q.handleSome(ctx, handlers, handle)
			if err != nil {
				return err
			}
			if n == 0 {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-quit.Done():
				}
			}
		}
		return nil
	})
	return func(context.Context) error {
		cancel()
		return g.Wait()
	}, nil
}

// handleSome handles up to 100 events in one transaction and returns how many.
func (q *limit) handleSome(ctx context.Context, handlers int, handle func(text string)) (int, error) {
	tx, err := q.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	ids, texts, err := taken(tx.QueryContext(ctx, q.dialect.take))
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	var g errgroup.Group
	g.SetLimit(handlers)
	for _, text := range texts {
		g.Go(func() error {
			handle(text)
			return nil
		})
	}
	_ = g.Wait() // no handler fails
	if q.dialect.remove != nil {
		if _, err := tx.ExecContext(ctx, q.dialect.remove(len(ids)), ids...); err != nil {
			return 0, err
		}
	}
	return len(ids), tx.Commit()
}

func taken(rows *sql.Rows, err error) (ids []any, texts []string, _ error) {
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, nil, err
		}
		ids, texts = append(ids, id), append(texts, text)
	}
	return ids, texts, rows.Err()
}

func (q *limit) left(ctx context.Context) (n int, err error) {
	err = q.db.QueryRowContext(ctx, "SELECT count(*) FROM bench").Scan(&n)
	return n, err
}

func (q *limit) close() error { return q.db.Close() }
