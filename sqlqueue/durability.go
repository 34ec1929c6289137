package sqlqueue

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

var _ driver.Assessor = (*Broker)(nil)

// Durability implements driver.Assessor: it reads the settings of the database
// that decide, as they are for a connection of the pool.
func (b *Broker) Durability(ctx context.Context) (driver.Durability, error) {
	var found driver.Durability
	err := b.read(ctx, func(s session) error {
		var err error
		switch b.dialect {
		case MySQL:
			found, err = s.durabilityOfMySQL(ctx)
		case Postgres:
			found, err = s.durabilityOfPostgres(ctx)
		case SQLite:
			found, err = s.durabilityOfSQLite(ctx)
		}
		return err
	})
	return found, err
}

// one reads the only row of a query.
func (s session) one(ctx context.Context, text string, dest ...any) error {
	return s.each(ctx, func(scan func(...any) error) error { return scan(dest...) }, text)
}

// lower lets d be no more than level, for a reason.
func lower(d *driver.Durability, level driver.DurabilityLevel, format string, args ...any) {
	d.Level = min(d.Level, level)
	d.Reasons = append(d.Reasons, fmt.Sprintf(format, args...))
}

func (s session) durabilityOfMySQL(ctx context.Context) (driver.Durability, error) {
	var flush, logs, sync int
	err := s.one(ctx, "SELECT @@global.innodb_flush_log_at_trx_commit, @@global.log_bin, @@global.sync_binlog", &flush, &logs, &sync)
	if err != nil {
		return driver.Durability{}, err
	}
	d := driver.Durability{Level: driver.DurabilitySynced}
	if flush == 1 || flush == 3 {
		lower(&d, driver.DurabilitySynced, "innodb_flush_log_at_trx_commit %d: a crash loses nothing of InnoDB's", flush)
	} else {
		lower(&d, driver.DurabilitySeconds, "innodb_flush_log_at_trx_commit %d: a crash loses about the last second; better: 1", flush)
	}
	if logs != 0 && sync != 1 {
		lower(&d, driver.DurabilitySnapshot, "sync_binlog %d: a crash of the machine loses what its system had not written of the binary log; better: 1", sync)
	}
	return d, nil
}

func (s session) durabilityOfPostgres(ctx context.Context) (driver.Durability, error) {
	var fsync, commit, standbys string
	err := s.one(ctx, "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')",
		&fsync, &commit, &standbys)
	if err != nil {
		return driver.Durability{}, err
	}
	d := driver.Durability{Level: driver.DurabilitySynced}
	if fsync != "on" {
		lower(&d, driver.DurabilityProcess, "fsync %s: a crash of the machine may lose all; better: on", fsync)
	}
	if commit == "off" {
		lower(&d, driver.DurabilitySeconds, "synchronous_commit off: a crash loses the last 3 times wal_writer_delay; better: on")
	} else if fsync == "on" {
		lower(&d, driver.DurabilitySynced, "fsync on, synchronous_commit %s: a crash loses nothing", commit)
	}
	if commit != "off" && commit != "local" {
		d.Replicas = countStandbys(standbys)
	}
	return d, nil
}

// countStandbys returns how many standbys a commit waits for by
// synchronous_standby_names: "FIRST 2 (a, b, c)", "ANY 1 (*)", "2 (a, b)" or "a, b".
func countStandbys(names string) int {
	if strings.TrimSpace(names) == "" {
		return 0
	}
	before, _, listed := strings.Cut(names, "(")
	fields := strings.Fields(before)
	if !listed || len(fields) == 0 {
		return 1
	}
	n, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return 1
	}
	return n
}

func (s session) durabilityOfSQLite(ctx context.Context) (driver.Durability, error) {
	var mode string
	var sync int
	if err := s.one(ctx, "PRAGMA journal_mode", &mode); err != nil {
		return driver.Durability{}, err
	}
	if err := s.one(ctx, "PRAGMA synchronous", &sync); err != nil {
		return driver.Durability{}, err
	}
	d := driver.Durability{Level: driver.DurabilitySynced}
	switch mode {
	case "off", "memory":
		lower(&d, driver.DurabilityUnknown, "journal_mode %s: a process that is killed may lose all; better: wal", mode)
	case "delete":
		if sync == 2 {
			lower(&d, driver.DurabilitySeconds, "journal_mode delete: a crash of the machine may undo the last commit; better: wal")
		}
	}
	switch sync {
	case 0:
		lower(&d, driver.DurabilityProcess, "synchronous OFF: a crash of the machine may lose all; better: FULL")
	case 1:
		lower(&d, driver.DurabilitySnapshot, "synchronous NORMAL: a crash of the machine loses what came since the last checkpoint; better: FULL")
	}
	if len(d.Reasons) == 0 {
		lower(&d, driver.DurabilitySynced, "journal_mode %s, synchronous %s: a crash loses nothing", mode, [...]string{"OFF", "NORMAL", "FULL", "EXTRA"}[min(sync, 3)])
	}
	return d, nil
}
