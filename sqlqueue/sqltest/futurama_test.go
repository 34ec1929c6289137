package sqltest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/legacy"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// openQueue makes the tables if they are not there. It takes any *sql.DB of MySQL
// or MariaDB, such as the one of the program's own data.
func openQueue(ctx context.Context, db *sql.DB) (*fanfare.Durable, error) {
	if err := sqlqueue.Migrate(ctx, db, sqlqueue.MySQL); err != nil {
		return nil, err
	}
	queue, err := sqlqueue.New(db, sqlqueue.MySQL)
	if err != nil {
		return nil, err
	}
	return fanfare.New(queue, fanfare.WithBackoff(legacy.Futurama()), fanfare.WithMaxRetry(18))
}

type Reminder struct{ User int64 }

var Remind = fanfare.NewTopic[Reminder]("remind")

func remindInTx(ctx context.Context, tx *sql.Tx, d *fanfare.Durable, t time.Time, r Reminder) error {
	return Remind.Dispatch(ctx, d.InTx(tx), r, fanfare.At(t), fanfare.ID(fanfare.NewID()))
}

// adoptRows takes over up to 500 waiting events of futurama's table, which is in
// the database of d. Each leaves the table in the transaction that dispatches it,
// so none is lost and none runs twice. It returns how many there were: repeat it
// until there are none. db was opened with parseTime=true, as by futurama.
func adoptRows(ctx context.Context, db *sql.DB, d *fanfare.Durable) (int, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // has no effect after Commit
	rows, err := tx.QueryContext(ctx, "SELECT id, trigger_type, trigger_time, retry_attempts, data FROM events WHERE status = 1 LIMIT 500 FOR UPDATE")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	type row struct {
		id, topic string
		due       time.Time
		attempts  int
		data      []byte
	}
	var all []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.topic, &r.due, &r.attempts, &r.data); err != nil {
			return 0, err
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	for _, r := range all {
		left := fanfare.MaxAttempts(max(1, 19-r.attempts)) // max_retry + 1
		event := fanfare.With(json.RawMessage(r.data), fanfare.ID(r.id), fanfare.At(r.due), left)
		if err := d.DispatchTx(ctx, tx, r.topic, event); err != nil && !errors.Is(err, fanfare.ErrDuplicate) {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM events WHERE id = ?", r.id); err != nil {
			return 0, err
		}
	}
	return len(all), tx.Commit()
}

// The declarations above stand in docs/migrating.md as well, which
// TestGuideShowsThisFile of package legacy holds.

func TestFromFuturama(t *testing.T) {
	server := testsvc.StartMariaDB(t)
	ctx, db := t.Context(), engines[0].open(t, server.URL+"?parseTime=true")
	exec := func(text string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(ctx, text, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE events (id VARCHAR(128) PRIMARY KEY, trigger_type VARCHAR(64), trigger_time DATETIME(6) NOT NULL," +
		" retry_attempts INT DEFAULT 0, data TEXT, status INT, owner VARCHAR(64) NOT NULL DEFAULT '')")
	due := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	for _, r := range []struct {
		id     string
		status int
		owner  string
	}{{"waits", 1, ""}, {"owned", 1, "a process that ended"}, {"canceled", 3, ""}} {
		exec("INSERT INTO events (id, trigger_type, trigger_time, retry_attempts, data, status, owner) VALUES (?, 'remind', ?, 18, '{}', ?, ?)",
			r.id, due, r.status, r.owner)
	}
	d, err := openQueue(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} {
		if n, err := adoptRows(ctx, db, d); n != want || err != nil {
			t.Fatalf("adoptRows = %d, %v, want %d", n, err, want)
		}
	}
	for _, id := range []string{"waits", "owned"} {
		r, err := d.Queue(Remind.Name(), "").Get(ctx, id)
		if err != nil || r.State != fanfare.Delayed || !r.Time.Equal(due) {
			t.Errorf("%s = %v at %v, %v, want it delayed to %v", id, r.State, r.Time, err, due)
		}
	}
	var left string
	if err := db.QueryRowContext(ctx, "SELECT GROUP_CONCAT(id) FROM events").Scan(&left); err != nil || left != "canceled" {
		t.Errorf("rows left = %q, %v, want canceled", left, err)
	}

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(remindInTx(ctx, tx, d, due, Reminder{User: 7}), tx.Rollback()); err != nil {
		t.Fatal(err)
	}
	status, err := d.Status(ctx, Remind.Name())
	if err != nil || status[0].Delayed != 2 {
		t.Errorf("Status = %v, %v, want 2 delayed", status, err)
	}
}
