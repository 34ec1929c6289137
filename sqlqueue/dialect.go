package sqlqueue

import "fmt"

// Dialect is the kind of database.
type Dialect uint8

// The dialects. There is no default: the zero value is refused.
const (
	MySQL    Dialect = iota + 1 // and MariaDB
	Postgres                    // and what speaks its SQL, with SKIP LOCKED and ctid
	SQLite
)

// String returns "mysql", "postgres" or "sqlite".
func (d Dialect) String() string {
	switch d {
	case MySQL:
		return "mysql"
	case Postgres:
		return "postgres"
	case SQLite:
		return "sqlite"
	}
	return fmt.Sprintf("dialect %d", uint8(d))
}

// grammar is what differs between the dialects.
type grammar struct {
	begin    []string // statements that begin a transaction that writes
	now      string   // the clock in microseconds since 1970, as an expression
	numbered bool     // parameters are $1 and so on
	lock     string   // makes a SELECT lock its rows
	skip     string   // the same, without those that others have locked
	current  string   // makes a SELECT see what an insert met that did nothing
	insert   string   // begins an insert that does nothing where there is a row
	ignore   string   // ends it
	embedded bool     // the database is in this process: so is the clock, and nothing is cut off
}

var grammars = map[Dialect]grammar{
	MySQL: {
		begin: []string{"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"},
		// Not UNIX_TIMESTAMP(NOW(6)): in the hour that daylight saving time
		// repeats, that is ambiguous.
		now:     "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
		lock:    " FOR UPDATE",
		skip:    " FOR UPDATE SKIP LOCKED",
		current: " LOCK IN SHARE MODE",
		insert:  "INSERT IGNORE",
	},
	Postgres: {
		begin: []string{"BEGIN ISOLATION LEVEL READ COMMITTED"},
		// Not now(): that is when the transaction began.
		now:      "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
		numbered: true,
		lock:     " FOR UPDATE",
		skip:     " FOR UPDATE SKIP LOCKED",
		insert:   "INSERT",
		ignore:   " ON CONFLICT DO NOTHING",
	},
	SQLite: {
		begin:    []string{"BEGIN IMMEDIATE"},
		now:      "0",
		insert:   "INSERT",
		ignore:   " ON CONFLICT DO NOTHING",
		embedded: true,
	},
}
