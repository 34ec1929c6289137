// Package sql compares queues in PostgreSQL, MariaDB and SQLite. All of them
// write durably: an event is on the disk when its insert returns.
package sql

import (
	"context"
	"errors"

	"github.com/fanfare-go/fanfare/bench/server"
	"github.com/fanfare-go/fanfare/bench/trial"
)

// Suite is the works of this package.
var Suite = suite()

// work is done with a queue that is empty.
type work func(ctx context.Context, env *trial.Env, q queue) (trial.Sample, error)

// peer is a queue and its name in the tables.
type peer struct {
	name string
	open open
}

func suite() *trial.Suite {
	s := &trial.Suite{Name: "sql"}
	postgresWorks(s)
	mariadbWorks(s)
	sqliteWorks(s)
	return s
}

func postgresWorks(s *trial.Suite) {
	ours := peer{trial.Fanfare, openFanfarePostgres}
	polls := peer{"fanfare-poll", openFanfarePolling}
	river, best := peer{"river", openRiver}, peer{"river-best", openRiverBest}
	fast := peer{"river-fast", openRiverFast}
	limit := peer{"limit", openLimitPostgres}
	add := adder(s, server.Postgres)

	ahead := goal("river", 1.5)
	add("postgres-insert-1", "PostgreSQL: insert, 1 caller", perSecond(ahead), insert(1, 1000), ours, river, limit)
	add("postgres-insert-10", "PostgreSQL: insert, 10 callers", perSecond(ahead), insert(10, 4000), ours, river, limit)
	add("postgres-insert-100", "PostgreSQL: insert, 100 callers", perSecond(ahead), insert(100, 8000), ours, river, limit)
	add("postgres-batch", "PostgreSQL: insert, 100 at a time", perSecond(ahead), insertBatches(20_000), ours, river, fast, limit)
	add("postgres-drain", "PostgreSQL: drain 20,000, 10 handlers", perSecond(goal("river-best", 1.5)), drain(20_000), ours, best, limit)
	add("postgres-drain-few", "PostgreSQL: drain 200, 10 handlers", perSecond(ahead), drain(200), ours, river, best)
	add("postgres-drain-2", "PostgreSQL: drain 20,000, 2 processes of 10 handlers", perSecond(), drainByTwo(20_000), ours, best, limit)
	add("postgres-late", "PostgreSQL: lateness of 200 events, due every 20 ms", milliseconds(goal("", 20)), late(200), ours, polls, river, best)
	for _, p := range []peer{ours, polls, river, best} {
		add("postgres-pickup", "PostgreSQL: pick-up by an idle consumer", milliseconds(), pickUp(p.open, 40), p)
	}
	add("postgres-idle", "PostgreSQL: transactions of an idle consumer", []trial.Figure{{Name: "rate", Unit: "/s"}}, idle, ours, polls, river, best)
}

func mariadbWorks(s *trial.Suite) {
	ours, limit := peer{trial.Fanfare, openFanfareMariaDB}, peer{"limit", openLimitMariaDB}
	add := adder(s, server.MariaDB)
	add("mariadb-insert-1", "MariaDB: insert, 1 caller", perSecond(), insert(1, 1000), ours, limit)
	add("mariadb-insert-10", "MariaDB: insert, 10 callers", perSecond(), insert(10, 4000), ours, limit)
	add("mariadb-batch", "MariaDB: insert, 100 at a time", perSecond(), insertBatches(20_000), ours, limit)
	add("mariadb-drain", "MariaDB: drain 10,000, 10 handlers", perSecond(), drain(10_000), ours, limit)
	add("mariadb-late", "MariaDB: lateness of 200 events, due every 20 ms", milliseconds(goal("", 50)), late(200), ours)
}

func sqliteWorks(s *trial.Suite) {
	ours, limit := peer{trial.Fanfare, openFanfareSQLite}, peer{"limit", openLimitSQLite}
	full, normal := peer{"goqite", openGoqite}, peer{"goqite-normal", openGoqiteNormal}
	runner := peer{"goqite-runner", openGoqiteRunner}
	add := adder(s, server.SQLite)
	add("sqlite-insert-1", "SQLite: insert, 1 caller", perSecond(), insert(1, 1000), ours, full, normal, limit)
	add("sqlite-insert-10", "SQLite: insert, 10 callers", perSecond(), insert(10, 2000), ours, full, normal, limit)
	add("sqlite-batch", "SQLite: insert, 100 at a time", perSecond(), insertBatches(10_000), ours, full, normal, limit)
	add("sqlite-drain", "SQLite: drain 3,000, 10 handlers", perSecond(), drain(3000), ours, full, normal, limit)
	add("sqlite-drain-few", "SQLite: drain 200, 10 handlers", perSecond(), drain(200), ours, full, runner)
	add("sqlite-late", "SQLite: lateness of 200 events, due every 20 ms", milliseconds(goal("", 50)), late(200), ours, full, runner)
}

// adder returns what adds a work on a server, or peers to one that is there.
func adder(s *trial.Suite, on string) func(name, title string, figures []trial.Figure, do work, peers ...peer) {
	return func(name, title string, figures []trial.Figure, do work, peers ...peer) {
		if len(s.Peers(name)) == 0 {
			s.Works = append(s.Works, trial.Work{Name: name, Title: title, Server: on, Figures: figures})
		}
		for _, p := range peers {
			s.Cases = append(s.Cases, trial.Case{Work: name, Peer: p.name, Run: p.run(do)})
		}
	}
}

// run opens the queue for a work.
func (p peer) run(do work) func(ctx context.Context, env *trial.Env) (trial.Sample, error) {
	return func(ctx context.Context, env *trial.Env) (trial.Sample, error) {
		q, err := p.open(ctx, env.URL)
		if err != nil {
			return nil, err
		}
		sample, err := do(ctx, env, q)
		return sample, errors.Join(err, q.close())
	}
}

func goal(peer string, bound float64) trial.Goal { return trial.Goal{Peer: peer, Bound: bound} }

func perSecond(goals ...trial.Goal) []trial.Figure {
	return []trial.Figure{{Name: "rate", Unit: "events/s", More: true, Goals: goals}}
}

func milliseconds(goals ...trial.Goal) []trial.Figure {
	return []trial.Figure{{Name: "p50", Unit: "ms"}, {Name: "p99", Unit: "ms", Goals: goals}}
}
