package sql

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/sqlqueue"
	"github.com/fanfare-go/fanfare/sqlqueue/pgxlisten"
)

var topic = fanfare.NewTopic[event]("bench")

// ours is fanfare over package sqlqueue.
type ours struct {
	db     *sql.DB
	broker *sqlqueue.Broker
	d      *fanfare.Durable
}

// openFanfarePostgres has a Listener, so that its consumer does not poll.
func openFanfarePostgres(ctx context.Context, url string) (queue, error) {
	listener, err := pgxlisten.New(url)
	if err != nil {
		return nil, err
	}
	return openFanfare(ctx, "pgx", url, sqlqueue.Postgres, sqlqueue.WithListener(listener))
}

// openFanfarePolling looks every 50 ms.
func openFanfarePolling(ctx context.Context, url string) (queue, error) {
	return openFanfare(ctx, "pgx", url, sqlqueue.Postgres)
}

func openFanfareMariaDB(ctx context.Context, url string) (queue, error) {
	return openFanfare(ctx, "mysql", url+"&interpolateParams=true", sqlqueue.MySQL)
}

func openFanfareSQLite(ctx context.Context, url string) (queue, error) {
	return openFanfare(ctx, "sqlite", "file:"+url+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)", sqlqueue.SQLite)
}

// openFanfare makes the tables and a topic with one group. It refuses to dispatch
// where the database is not durable.
func openFanfare(ctx context.Context, driver, source string, dialect sqlqueue.Dialect, opts ...sqlqueue.Option) (queue, error) {
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := sqlqueue.Migrate(ctx, db, dialect); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	broker, err := sqlqueue.New(db, dialect, opts...)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d, err := fanfare.New(broker, fanfare.RequireDurability(fanfare.DurabilitySynced), fanfare.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &ours{db, broker, d}, d.Queue(topic.Name(), "default").Create(ctx)
}

func (q *ours) insert(ctx context.Context, text string) error {
	return topic.Dispatch(ctx, q.d, event{text})
}

func (q *ours) insertMany(ctx context.Context, texts []string) error {
	events := make([]event, len(texts))
	for i, text := range texts {
		events[i].Text = text
	}
	return topic.DispatchBatch(ctx, q.d, events)
}

func (q *ours) insertAt(ctx context.Context, text string, due time.Time) error {
	return topic.Dispatch(ctx, q.d, event{text}, fanfare.At(due))
}

func (q *ours) consume(ctx context.Context, handlers int, handle func(text string)) (func(context.Context) error, error) {
	_, err := topic.Register(ctx, q.d, func(_ context.Context, e event) error {
		handle(e.Text)
		return nil
	}, fanfare.Concurrency(handlers))
	return q.d.Stop, err
}

func (q *ours) left(ctx context.Context) (int, error) {
	n := 0
	all, err := q.d.Status(ctx, topic.Name())
	for _, s := range all {
		n += s.Ready + s.Delayed + s.Running + s.Dead
	}
	return n, err
}

func (q *ours) close() error {
	return errors.Join(q.d.Stop(context.Background()), q.broker.Close(), q.db.Close())
}
