package sql

import (
	"context"
	"database/sql"
	"time"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// For how long an idle consumer is watched, and after what time: PostgreSQL
// counts what a session did up to a second later.
const (
	idleFor   = 4 * time.Second
	idleAfter = 2 * time.Second
)

// idle counts the transactions, most of them single statements, that PostgreSQL
// runs for a consumer that has nothing to do.
func idle(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error) {
	db, err := sql.Open("pgx", env.URL)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	stop, err := q.consume(ctx, handlers, func(string) {})
	if err != nil {
		return nil, err
	}
	<-time.After(idleAfter)
	before, err := transactions(ctx, db)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	<-time.After(idleFor)
	after, err := transactions(ctx, db)
	if err != nil {
		return nil, err
	}
	sample := trial.Sample{"rate": float64(after-before) / time.Since(begin).Seconds()}
	return sample, stop(ctx)
}

func transactions(ctx context.Context, db *sql.DB) (n int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()").Scan(&n)
	return n, err
}
