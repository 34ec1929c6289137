package sqltest

import (
	"database/sql"
	"os"
	"testing"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

func TestBehaviour(t *testing.T) { behaviour.Run(t, openers()...) }

func TestProcesses(t *testing.T) { behaviour.RunProcesses(t, openers()...) }

func openers() []behaviour.Opener {
	var all []behaviour.Opener
	for _, e := range engines {
		all = append(all, behaviour.Opener{Name: e.name, Durable: true, Start: func(t *testing.T) behaviour.Backend {
			source, prefix := e.source(t), newPrefix()
			e.broker(t, e.open(t, source), sqlqueue.WithPrefix(prefix)) // makes the tables
			return behaviour.Backend{
				Open: func(t *testing.T, opts ...fanfare.Option) (fanfare.Dispatcher, error) {
					return fanfare.New(e.broker(t, e.open(t, source), sqlqueue.WithPrefix(prefix)), opts...)
				},
				Env: e.env(source, prefix),
			}
		}})
	}
	return all
}

// The variables that tell a child process of its database, and of what it is to
// do there if that is not to consume.
const (
	childEngine = "FANFARE_TEST_CHILD_ENGINE"
	childSource = "FANFARE_TEST_CHILD_SOURCE"
	childPrefix = "FANFARE_TEST_CHILD_PREFIX"
	childRole   = "FANFARE_TEST_CHILD_ROLE"
)

func (e engine) env(source, prefix string) []string {
	return []string{childEngine + "=" + e.name, childSource + "=" + source, childPrefix + "=" + prefix}
}

// connectFromEnv opens, in a child process, the database that env named.
func connectFromEnv() (engine, *sql.DB, *sqlqueue.Broker, error) {
	for _, e := range engines {
		if e.name != os.Getenv(childEngine) {
			continue
		}
		source := os.Getenv(childSource)
		if e.dialect == sqlqueue.SQLite {
			source += "&_pragma=busy_timeout(1000)" // for transactions of the child
		}
		db, err := sql.Open(e.driver, source)
		if err != nil {
			return e, nil, nil, err
		}
		b, err := sqlqueue.New(db, e.dialect, sqlqueue.WithPrefix(os.Getenv(childPrefix)))
		return e, db, b, err
	}
	return engine{}, nil, nil, os.ErrInvalid
}

func openFromEnv(opts ...fanfare.Option) (*fanfare.Durable, error) {
	_, _, b, err := connectFromEnv()
	if err != nil {
		return nil, err
	}
	return fanfare.New(b, opts...)
}
