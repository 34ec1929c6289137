// Package server runs the servers of the benchmarks, each on a free port and in
// a directory of its own.
package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "github.com/go-sql-driver/mysql"
	"github.com/gomodule/redigo/redis"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// The servers that a work may name.
const (
	Redis       = "redis"        // it keeps nothing on disk
	RedisAlways = "redis-always" // appendonly yes, appendfsync always
	Postgres    = "postgres"     // durable, as it comes
	MariaDB     = "mariadb"      // durable, as it comes
	SQLite      = "sqlite"       // a file for each run
)

// Servers starts servers when they are first needed. The zero value is ready.
type Servers struct {
	running map[string]*testsvc.Instance
	files   string
	made    int
}

// Fresh returns the URL of an empty server, database or file of a kind, which
// only the next run uses.
func (s *Servers) Fresh(ctx context.Context, kind string) (string, error) {
	s.made++
	name := fmt.Sprintf("bench%d", s.made)
	switch kind {
	case "":
		return "", nil
	case SQLite:
		return s.file(name)
	}
	i, err := s.instance(kind)
	if err != nil {
		return "", fmt.Errorf("%s: %w", kind, err)
	}
	switch kind {
	case Redis, RedisAlways:
		return i.URL, flush(ctx, i.URL)
	case Postgres:
		u, err := url.Parse(i.URL)
		if err != nil {
			return "", err
		}
		u.Path = "/" + name
		return u.String(), create(ctx, "pgx", i.URL, name)
	default:
		return "root@tcp(" + i.Addr + ")/" + name + "?parseTime=true", create(ctx, "mysql", i.URL, name)
	}
}

func (s *Servers) instance(kind string) (*testsvc.Instance, error) {
	if i := s.running[kind]; i != nil {
		return i, nil
	}
	i, err := open(kind)
	if err != nil {
		return nil, err
	}
	if s.running == nil {
		s.running = map[string]*testsvc.Instance{}
	}
	s.running[kind] = i
	return i, nil
}

func open(kind string) (*testsvc.Instance, error) {
	switch kind {
	case Redis:
		return testsvc.OpenRedis("--appendonly", "no", "--save", "")
	case RedisAlways:
		return testsvc.OpenRedis("--appendonly", "yes", "--appendfsync", "always", "--save", "")
	case Postgres:
		return testsvc.OpenPostgres()
	case MariaDB:
		return testsvc.OpenMariaDB()
	default:
		return nil, errors.New("no such server")
	}
}

func flush(ctx context.Context, url string) error {
	c, err := redis.DialURLContext(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = c.Do("FLUSHALL"); err == nil {
		_, err = c.Do("CONFIG", "RESETSTAT")
	}
	return err
}

func create(ctx context.Context, driver, url, name string) error {
	db, err := sql.Open(driver, url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+name)
	return err
}

func (s *Servers) file(name string) (string, error) {
	if s.files == "" {
		dir, err := os.MkdirTemp("", "fanfare-bench")
		if err != nil {
			return "", err
		}
		s.files = dir
	}
	return filepath.Join(s.files, name+".db"), nil
}

// Close ends the servers and removes what they kept.
func (s *Servers) Close() error {
	var errs []error
	for _, i := range s.running {
		errs = append(errs, i.Close())
	}
	if s.files != "" {
		errs = append(errs, os.RemoveAll(s.files))
	}
	return errors.Join(errs...)
}
