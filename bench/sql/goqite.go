package sql

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/gob"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	"maragu.dev/goqite"
	"maragu.dev/goqite/jobs"
)

// goqiteQueue is goqite on one connection, as its documentation has it.
type goqiteQueue struct {
	db     *sql.DB
	queue  *goqite.Queue
	runner bool // jobs.Runner handles, and not a loop for each handler
}

// goqitePoll is the interval in goqite's documentation; its default is 100 ms.
// The Runner waits for so long before each event.
const goqitePoll = 10 * time.Millisecond

// openGoqite receives in a loop for each handler, which looks again at once after
// an event, and after goqitePoll where there is none.
func openGoqite(ctx context.Context, path string) (queue, error) {
	return newGoqite(ctx, path, "FULL", false)
}

// openGoqiteNormal has what the driver in goqite's documentation, mattn/go-sqlite3,
// sets in WAL mode: the last commits may be lost with the machine.
func openGoqiteNormal(ctx context.Context, path string) (queue, error) {
	return newGoqite(ctx, path, "NORMAL", false)
}

// openGoqiteRunner handles by jobs.Runner.
func openGoqiteRunner(ctx context.Context, path string) (queue, error) {
	return newGoqite(ctx, path, "FULL", true)
}

func newGoqite(ctx context.Context, path, synchronous string, runner bool) (queue, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=synchronous("+synchronous+")")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	if err := goqite.Setup(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &goqiteQueue{db, goqite.New(goqite.NewOpts{DB: db, Name: "bench"}), runner}, nil
}

func (q *goqiteQueue) insert(ctx context.Context, text string) error {
	return q.insertAt(ctx, text, time.Time{})
}

// insertMany inserts in one transaction.
func (q *goqiteQueue) insertMany(ctx context.Context, texts []string) error {
	tx, err := q.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, text := range texts {
		m, err := q.message(text, time.Time{})
		if err != nil {
			return err
		}
		if err := q.queue.SendTx(ctx, tx, m); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (q *goqiteQueue) insertAt(ctx context.Context, text string, due time.Time) error {
	m, err := q.message(text, due)
	if err != nil {
		return err
	}
	return q.queue.Send(ctx, m)
}

// message is one as jobs.Create makes it where there is a Runner: jobs.Create
// has no delay.
func (q *goqiteQueue) message(text string, due time.Time) (goqite.Message, error) {
	m := goqite.Message{Body: []byte(text), Delay: max(0, time.Until(due))}
	if !q.runner {
		return m, nil
	}
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(struct {
		Name    string
		Message []byte
	}{"bench", m.Body})
	m.Body = b.Bytes()
	return m, err
}

func (q *goqiteQueue) consume(ctx context.Context, handlers int, handle func(text string)) (func(context.Context) error, error) {
	ctx, cancel := context.WithCancel(ctx)
	g, working := errgroup.WithContext(context.WithoutCancel(ctx))
	if q.runner {
		r := jobs.NewRunner(jobs.NewRunnerOpts{Limit: handlers, PollInterval: goqitePoll, Queue: q.queue})
		r.Register("bench", func(_ context.Context, m []byte) error {
			handle(string(m))
			return nil
		})
		g.Go(func() error {
			r.Start(ctx)
			return nil
		})
	} else {
		for range handlers {
			g.Go(func() error { return q.receive(ctx, working, handle) })
		}
	}
	return func(context.Context) error {
		cancel()
		return g.Wait()
	}, nil
}

// receive handles one event after another until quit ends.
func (q *goqiteQueue) receive(quit, ctx context.Context, handle func(text string)) error {
	for quit.Err() == nil {
		m, err := q.queue.Receive(ctx)
		if err != nil {
			return err
		}
		if m == nil {
			select {
			case <-time.After(goqitePoll):
			case <-quit.Done():
			}
			continue
		}
		handle(string(m.Body))
		if err := q.queue.Delete(ctx, m.ID); err != nil {
			return err
		}
	}
	return nil
}

func (q *goqiteQueue) left(ctx context.Context) (n int, err error) {
	err = q.db.QueryRowContext(ctx, "SELECT count(*) FROM goqite").Scan(&n)
	return n, err
}

func (q *goqiteQueue) close() error { return q.db.Close() }
