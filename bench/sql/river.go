package sql

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// Kind names the events to River.
func (event) Kind() string { return "event" }

// riverQueue is River over a pool of pgx.
type riverQueue struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx] // that inserts, and does not run
	config river.Config          // of those that run
	fast   bool                  // InsertManyFast, which is a COPY
}

// openRiver leaves all settings as they come: a fetch at most every 100 ms, which
// bounds throughput to ten times its handlers a second, and a poll every second.
func openRiver(ctx context.Context, url string) (queue, error) {
	return newRiver(ctx, url, river.Config{}, false)
}

// openRiverBest sets the least cooldown between two fetches, and polls every 20
// ms as River's own benchmark does.
func openRiverBest(ctx context.Context, url string) (queue, error) {
	return newRiver(ctx, url, river.Config{FetchCooldown: river.FetchCooldownMin, FetchPollInterval: 20 * time.Millisecond}, false)
}

// openRiverFast inserts many with a COPY, which cannot tell of unique jobs and
// returns only how many there were.
func openRiverFast(ctx context.Context, url string) (queue, error) {
	return newRiver(ctx, url, river.Config{}, true)
}

func newRiver(ctx context.Context, url string, config river.Config, fast bool) (queue, error) {
	settings, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	settings.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, err
	}
	q := &riverQueue{pool: pool, config: config, fast: fast}
	q.config.Logger = slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: q.config.Logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	q.client, err = river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: q.config.Logger})
	return q, err
}

func (q *riverQueue) insert(ctx context.Context, text string) error {
	_, err := q.client.Insert(ctx, event{text}, nil)
	return err
}

func (q *riverQueue) insertMany(ctx context.Context, texts []string) error {
	many := make([]river.InsertManyParams, len(texts))
	for i, text := range texts {
		many[i].Args = event{text}
	}
	var err error
	if q.fast {
		_, err = q.client.InsertManyFast(ctx, many)
	} else {
		_, err = q.client.InsertMany(ctx, many)
	}
	return err
}

func (q *riverQueue) insertAt(ctx context.Context, text string, due time.Time) error {
	_, err := q.client.Insert(ctx, event{text}, &river.InsertOpts{ScheduledAt: due})
	return err
}

func (q *riverQueue) consume(ctx context.Context, handlers int, handle func(text string)) (func(context.Context) error, error) {
	config := q.config
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, river.WorkFunc(func(_ context.Context, job *river.Job[event]) error {
		handle(job.Args.Text)
		return nil
	}))
	config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: handlers}}
	client, err := river.NewClient(riverpgxv5.New(q.pool), &config)
	if err != nil {
		return nil, err
	}
	return client.Stop, client.Start(ctx)
}

func (q *riverQueue) left(ctx context.Context) (n int, err error) {
	err = q.pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state <> 'completed'").Scan(&n)
	return n, err
}

func (q *riverQueue) close() error {
	q.pool.Close()
	return nil
}
