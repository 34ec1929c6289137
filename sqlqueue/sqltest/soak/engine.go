package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/soak/trial"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// engine is a kind of database.
type engine struct {
	name    string
	driver  string
	dialect sqlqueue.Dialect
	options string // of the data source name
	// late are the arguments with which the server says that something is
	// committed before it is on the disk; nil if there is no server.
	late  []string
	start func(args ...string) (*testsvc.Instance, error)
	cut   func(ctx context.Context, db *sql.DB) error
}

var mariadb = engine{
	name: "mariadb", driver: "mysql", dialect: sqlqueue.MySQL, options: "?interpolateParams=true",
	late:  []string{"--innodb-flush-log-at-trx-commit=0"},
	start: testsvc.OpenMariaDB, cut: killMariaDB,
}

var postgres = engine{
	name: "postgres", driver: "pgx", dialect: sqlqueue.Postgres,
	late:  []string{"-c", "synchronous_commit=off", "-c", "wal_writer_delay=1s"},
	start: testsvc.OpenPostgres, cut: killPostgres,
}

var sqlite = engine{name: "sqlite", driver: "sqlite", dialect: sqlqueue.SQLite}

var backends = []trial.Backend{mariadb.backend(), postgres.backend(), sqlite.backend()}

const (
	onCommit = "commit" // data is on the disk when a commit returns
	late     = "late"
)

func (e engine) backend() trial.Backend {
	b := trial.Backend{
		Name: e.name, ModeFlag: "flush", Modes: []string{onCommit}, Flaws: flaws, Open: e.open, Start: e.serve,
		Slowest: 10 * time.Millisecond, // a transaction is some round trips
	}
	if e.late == nil {
		b.Start = e.share
		return b
	}
	b.Modes = append(b.Modes, late)
	return b
}

// connections bounds those of one process, so that all together stay below what
// a server takes.
const connections = 15

// open opens a dispatcher that a flaw breaks.
func (e engine) open(address, flaw string, opts ...fanfare.Option) (*fanfare.Durable, func() error, error) {
	db, err := sql.Open(e.driver, address)
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	b, err := sqlqueue.New(db, e.dialect)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	closed := func() error { return errors.Join(b.Close(), db.Close()) }
	d, err := fanfare.New(broken(b, flaw), opts...)
	if err != nil {
		return nil, nil, errors.Join(err, closed())
	}
	return d, closed, nil
}

// serve starts a server.
func (e engine) serve(ctx context.Context, mode string) (*trial.Server, error) {
	var args []string
	if mode == late {
		args = e.late
	}
	i, err := e.start(args...)
	if err != nil {
		return nil, err
	}
	c, err := e.control(ctx, i.URL+e.options)
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	if _, err := c.db.ExecContext(ctx, "CREATE TABLE soak_probe (n INT)"); err != nil {
		return nil, errors.Join(err, c.db.Close(), i.Close())
	}
	if _, err := c.db.ExecContext(ctx, "INSERT INTO soak_probe VALUES (0)"); err != nil {
		return nil, errors.Join(err, c.db.Close(), i.Close())
	}
	return &trial.Server{
		Instance: i,
		Address:  func(addr string) string { return strings.Replace(i.URL, i.Addr, addr, 1) + e.options },
		Probe:    c.probe,
		Cut:      func(ctx context.Context) error { return e.cut(ctx, c.db) },
		Left:     c.left,
		Close:    func() error { return errors.Join(c.db.Close(), i.Close()) },
	}, nil
}

// control makes the tables and returns the soak's own connection.
func (e engine) control(ctx context.Context, source string) (control, error) {
	db, err := sql.Open(e.driver, source)
	if err != nil {
		return control{}, err
	}
	if err := sqlqueue.Migrate(ctx, db, e.dialect); err != nil {
		return control{}, errors.Join(err, db.Close())
	}
	return control{db}, nil
}
