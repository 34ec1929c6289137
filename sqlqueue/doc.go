// Package sqlqueue keeps the events of fanfare in a SQL database: MariaDB or
// MySQL, PostgreSQL, or SQLite, over database/sql and whichever driver the
// program uses.
//
//	db, err := sql.Open("pgx", "postgres://localhost/shop")
//	err = sqlqueue.Migrate(ctx, db, sqlqueue.Postgres) // creates the tables, or brings them up to date
//	queue, err := sqlqueue.New(db, sqlqueue.Postgres)
//	d, err := fanfare.New(queue)
//
// Everything that a durable dispatcher can do works, and two things more: events
// can be dispatched in a transaction of the program, and finished in one, by
// [github.com/fanfare-go/fanfare.Durable.InTx].
//
//	tx, err := db.BeginTx(ctx, nil)
//	_, err = tx.ExecContext(ctx, "INSERT INTO orders …")
//	err = d.DispatchTx(ctx, tx, "order.placed", order)
//	err = tx.Commit() // the order and its event, or neither
//
// Keep such a transaction short: until it ends, in MariaDB and MySQL, no group
// can be added to the topic.
//
// A body has at most 8 MiB less 4 KiB, of which [github.com/fanfare-go/fanfare.WithMaxPayload]
// allows 1 MiB by default.
//
// # What the databases need
//
//   - MariaDB from 10.6 or MySQL from 8.0: InnoDB; innodb_flush_log_at_trx_commit=1
//     (the default) and, if there is a binary log, sync_binlog=1 (not the default
//     of MariaDB) if nothing may be lost with the machine, and a binlog_format
//     other than "statement". interpolateParams=true in the data source name of
//     go-sql-driver/mysql halves the round trips.
//   - PostgreSQL from 13: fsync and synchronous_commit on, as they are by default.
//     A [Listener] lets consumers sleep without looking.
//     The tables are not to be partitioned: rows are reached by their ctid, which
//     each partition has again.
//   - SQLite from 3.35: one host, no network file system. Migrate turns on the
//     write-ahead log. synchronous=FULL is the default of SQLite; with NORMAL the
//     last commits may be lost with the machine, not with the process. All
//     processes must agree on their clock, which is that of the host. A program
//     with transactions of its own lets them take the lock when they begin, and
//     wait for it: with modernc.org/sqlite by the data source name
//     "file:shop.db?_txlock=immediate&_pragma=busy_timeout(5000)". Else they fail
//     with SQLITE_BUSY when somebody else writes. The queue needs no busy timeout:
//     it waits for locks by itself. With one its calls may return later than
//     their contexts end, by as much.
//
// Where the disk is full, a dispatch returns ErrBackendFull, and what is stored
// stays. Other than with Redis, claims and acks need space too: they go on when
// there is some, and events that ran meanwhile run again.
//
// The queue works with READ COMMITTED transactions and row locks that it does
// not wait for, so consumers do not hinder each other. What is slow for it is
// what is slow for any table with many updates: transactions of others that
// stay open for minutes keep PostgreSQL and InnoDB from clearing away what ended.
//
// A step is a transaction of four to eight round trips, and leases are renewed five
// times in their length: a lease should be longer than 50 round trips. In PostgreSQL
// three steps are one statement, besides a look: a push of new ids to a topic with
// one group, a claim while only one priority is due, and acks.
//
// Of its idle connections an sql.DB keeps two by default. Where more than that
// dispatch at the same time, let it keep as many, by SetMaxIdleConns.
//
// # Waking
//
// A claim knows when the next event is due, so a consumer sleeps until then. Of
// what is dispatched meanwhile it learns at once if this was done through the
// same Broker, or in PostgreSQL, up to 2 ms later, if it has a Listener; else by a
// look at the head of its queue every [WithPollInterval].
package sqlqueue
