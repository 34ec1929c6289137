package sqlqueue

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/fanfare-go/fanfare/driver"
)

// fault is what an error of a driver means. The zero value is an error that no
// server told: the connection is broken, or was never made.
type fault uint8

const (
	broken fault = iota
	undone       // in a deadlock, or by a lock that took too long: to be tried again
	busy         // not ready, or refused for another reason
	full
	readOnly
	denied
	noTable
	refused // the rest: the server answered, and did nothing
)

// faultOf tells what went wrong. Drivers are not imported here; what their
// errors have in common is a code.
func faultOf(err error) fault {
	state, number := codeOf(err)
	switch {
	case state != "":
		return postgresFault(state)
	case number > 0 && number < 1000:
		return sqliteFault(number & 0xff)
	case number > 0:
		return mysqlFault(number)
	}
	return broken
}

// codeOf returns the SQLSTATE of a PostgreSQL error, or the number of one of
// MySQL or SQLite: a method Code, or a field Number or Code.
func codeOf(err error) (state string, number int) {
	var withState interface{ SQLState() string }
	if errors.As(err, &withState) {
		return withState.SQLState(), 0
	}
	var withCode interface{ Code() int }
	if errors.As(err, &withCode) {
		return "", withCode.Code() & 0xff
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		for _, name := range []string{"Number", "Code"} {
			switch f := v.FieldByName(name); {
			case !f.IsValid():
			case f.CanInt():
				return "", int(f.Int())
			case f.CanUint():
				return "", int(f.Uint())
			}
		}
	}
	return "", 0
}

// postgresFault goes by appendix A of the PostgreSQL manual.
func postgresFault(state string) fault {
	switch state {
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
		return undone
	case "57P01", "57P02", "57P03", "57P05", "25P03": // the server ends the connection
		return broken
	case "53100", "53200", "54000": // disk full, out of memory, a limit
		return full
	case "25006": // read-only transaction
		return readOnly
	case "42501", "28000", "28P01": // insufficient privilege, who is not let in
		return denied
	case "42P01", "42703", "3F000": // no such table, column, schema
		return noTable
	}
	switch state[:2] {
	case "08": // connection
		return broken
	case "53", "57": // resources, intervention
		return busy
	}
	return refused
}

// mysqlFault goes by the error references of MySQL and MariaDB.
func mysqlFault(number int) fault {
	switch number {
	case 1205, 1213, 1020: // lock wait timeout, deadlock, record changed
		return undone
	case 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927: // shutdown, aborted, killed
		return broken
	case 1021, 1037, 1038, 1041, 1114, 3675: // disk full, out of memory, table full
		return full
	case 1044, 1045, 1142, 1143, 1227, 1698: // access denied
		return denied
	case 1290, 1792, 1836, 3100: // read-only in one way or the other
		return readOnly
	case 1146, 1054, 1049: // no such table, column, database
		return noTable
	case 1040, 1203, 1226: // too many connections
		return busy
	}
	return refused
}

// sqliteFault goes by the result codes of SQLite.
func sqliteFault(code int) fault {
	switch code {
	case 5, 6: // SQLITE_BUSY, SQLITE_LOCKED
		return undone
	case 13, 7: // SQLITE_FULL, SQLITE_NOMEM
		return full
	case 8: // SQLITE_READONLY
		return readOnly
	case 3, 23: // SQLITE_PERM, SQLITE_AUTH
		return denied
	case 4, 9, 10, 14: // SQLITE_ABORT, INTERRUPT, IOERR, CANTOPEN
		return busy
	case 1: // SQLITE_ERROR: of our statements, only that a table is missing
		return noTable
	}
	return refused
}

func isUndone(err error) bool { return faultOf(err) == undone }

// isBroken reports that a connection did not work, and that what was to be done
// on it was not done.
func isBroken(err error) bool {
	var committing *commitError
	return !errors.As(err, &committing) && !isOurs(err) && faultOf(err) == broken
}

// commitUndone reports that a commit which failed with err is certain not to
// have been carried out.
func commitUndone(err error) bool {
	return slices.Contains([]fault{undone, full, readOnly, denied, refused}, faultOf(err))
}

// isOurs reports that an error was made here, and means what it matches.
func isOurs(err error) bool {
	for _, ours := range []error{
		driver.ErrSchema, driver.ErrInvalid, driver.ErrUnavailable, driver.ErrNotFound,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}

// classify returns the sentinel that an error is to match, or nil if it matches
// what it should.
func classify(err error) error {
	var committing *commitError
	if errors.As(err, &committing) {
		return driver.ErrUnknownOutcome
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return driver.ErrUnavailable // also of a network, which may notice before the context does
	}
	if isOurs(err) {
		return nil
	}
	switch faultOf(err) {
	case full:
		return driver.ErrFull
	case readOnly:
		return driver.ErrReadOnly
	case denied:
		return driver.ErrDenied
	case noTable:
		return fmt.Errorf("%w: the tables are missing or are not ours (see sqlqueue.Migrate)", driver.ErrSchema)
	default:
		return driver.ErrUnavailable
	}
}

func checkVersion(version int) error {
	switch {
	case version == 0:
		return fmt.Errorf("the tables are empty of a version (see sqlqueue.Migrate): %w", driver.ErrSchema)
	case version > layoutVersion:
		return fmt.Errorf("the tables have version %d and this program knows %d: update the program: %w", version, layoutVersion, driver.ErrSchema)
	case version < layoutVersion:
		return fmt.Errorf("the tables have version %d, want %d: run sqlqueue.Migrate: %w", version, layoutVersion, driver.ErrSchema)
	}
	return nil
}
