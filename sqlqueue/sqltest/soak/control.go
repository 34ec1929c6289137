package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fanfare-go/fanfare/internal/soak/trial"
)

// control is the soak's own connection.
type control struct{ db *sql.DB }

func (c control) probe(ctx context.Context) error {
	_, err := c.db.ExecContext(ctx, "UPDATE soak_probe SET n = n + 1")
	return err
}

// left counts the rows but those of ids that ended, whose line is 4 of 8.
func (c control) left(ctx context.Context) ([]string, error) {
	var left []string
	for _, rows := range []string{"fanfare_events WHERE line % 8 <> 4", "fanfare_again", "fanfare_dead"} {
		n := 0
		if err := c.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+rows).Scan(&n); err != nil {
			return nil, err
		}
		if n > 0 {
			left = append(left, fmt.Sprintf("%d rows of %s", n, rows))
		}
	}
	return left, nil
}

func killPostgres(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
	return err
}

func killMariaDB(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	rows, err := conn.QueryContext(ctx, "SELECT id FROM information_schema.processlist WHERE id <> connection_id() AND user = 'root'")
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		_, _ = conn.ExecContext(ctx, fmt.Sprintf("KILL %d", id)) // an error means that it has gone
	}
	return ctx.Err()
}

// share makes a file that processes share.
func (e engine) share(ctx context.Context, _ string) (*trial.Server, error) {
	dir, err := os.MkdirTemp("", "fanfare-sqlite-")
	if err != nil {
		return nil, err
	}
	source := "file:" + filepath.Join(dir, "events.db")
	c, err := e.control(ctx, source)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &trial.Server{
		Address: func(string) string { return source },
		Probe:   func(context.Context) error { return sync(filepath.Join(dir, "probe")) },
		Left:    c.left,
		Close:   func() error { return errors.Join(c.db.Close(), os.RemoveAll(dir)) },
	}, nil
}

// sync returns when something is on the disk.
func sync(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString("probe")
	return errors.Join(err, f.Sync(), f.Close())
}
