package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// servers are the engines that are servers, each with how to start one that a
// test may hurt.
var servers = map[string]func(tb testing.TB, args ...string) *testsvc.Server{
	"mariadb":  testsvc.StartMariaDB,
	"postgres": testsvc.StartPostgres,
}

// eachServer runs a test on a server of each kind of its own.
func eachServer(t *testing.T, test func(t *testing.T, e engine, s *testsvc.Server), args ...string) {
	for _, e := range engines {
		if start, ok := servers[e.name]; ok {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				test(t, e, start(t, args...))
			})
		}
	}
}

// load dispatches as fast as it can, as somebody who repeats what failed with
// the same id.
type load struct {
	accepted tally
	unsent   atomic.Int64 // calls that failed
	stop     chan struct{}
	all      sync.WaitGroup
}

func startLoad(d *fanfare.Durable) *load {
	l := &load{stop: make(chan struct{})}
	for range 4 {
		l.all.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
					l.dispatch(d)
				}
			}
		})
	}
	return l
}

// dispatch dispatches one event, until it is accepted.
func (l *load) dispatch(d *fanfare.Durable) {
	id := fanfare.NewID()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := text.Dispatch(ctx, d, id, fanfare.ID(id))
		cancel()
		switch {
		case err == nil || errors.Is(err, fanfare.ErrDuplicate):
			l.accepted.add(id)
			return
		case !errors.Is(err, fanfare.ErrUnavailable) && !errors.Is(err, fanfare.ErrUnknownOutcome):
			panic(err)
		}
		l.unsent.Add(1)
		select {
		case <-l.stop: // whoever gives up knows nothing of the event
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// end stops the load and returns the ids that were accepted.
func (l *load) end() map[string]int {
	close(l.stop)
	l.all.Wait()
	return l.accepted.all()
}

func TestServerIsKilledUnderLoad(t *testing.T) {
	eachServer(t, func(t *testing.T, e engine, server *testsvc.Server) {
		prefix := newPrefix()
		db := e.open(t, server.URL)
		db.SetMaxIdleConns(50) // so that many are stale after a restart
		d := e.dispatcher(t, db, sqlqueue.WithPrefix(prefix))
		consumer, err := fanfare.New(e.broker(t, e.open(t, server.URL), sqlqueue.WithPrefix(prefix)), fanfare.WithLease(3*time.Second))
		require.NoError(t, err)
		behaviour.StopWith(t, consumer)
		got, l := consume(t, consumer), startLoad(d)
		for round := range 4 {
			before := len(got.all())
			require.Eventually(t, func() bool { return len(got.all()) > before+200 }, patience, 5*time.Millisecond, "round %d: consumers go on", round)
			server.Kill()
			server.Restart()
		}
		accepted := l.end()
		drained(t, d)
		handled, again := got.all(), 0
		for id := range accepted {
			require.NotZero(t, handled[id], "accepted and lost: %s", id)
		}
		for _, n := range handled {
			again += n - 1
		}
		require.NoError(t, d.Stop(t.Context()))
		require.NoError(t, consumer.Stop(t.Context()))
		behaviour.Eventually(t, func() bool { return db.Stats().InUse == 0 }, "connections that were not given back")
		t.Logf("%d accepted, %d calls failed, %d handled more than once", len(accepted), l.unsent.Load(), again)
	})
}

// killConnections ends all connections of a server but the one that it uses.
func (e engine) killConnections(t *testing.T, source string) {
	t.Helper()
	c, err := e.open(t, source).Conn(t.Context())
	require.NoError(t, err)
	defer c.Close()
	if e.dialect == sqlqueue.Postgres {
		_, err = c.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
		require.NoError(t, err)
		return
	}
	rows, err := c.QueryContext(t.Context(), "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command = 'Sleep'")
	require.NoError(t, err)
	var ids []int64
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Close())
	for _, id := range ids {
		_, _ = c.ExecContext(t.Context(), fmt.Sprint("KILL CONNECTION ", id)) // it may be gone by itself
	}
}

// TestFirstDispatchAfterConnectionsBroke finds the pool full of connections that
// are broken, of which it does not know.
func TestFirstDispatchAfterConnectionsBroke(t *testing.T) {
	eachServer(t, func(t *testing.T, e engine, server *testsvc.Server) {
		db := e.open(t, server.URL)
		const pool = 30
		db.SetMaxIdleConns(pool)
		d := e.dispatcher(t, db)
		for name, hurt := range map[string]func(){
			"restart": func() { server.Kill(); server.Restart() },
			"killed":  func() { e.killConnections(t, server.URL) },
		} {
			for range 2 { // the second time they are there, so all are in use shortly before
				var all []*sql.Conn
				for range pool {
					c, err := db.Conn(t.Context())
					require.NoError(t, err)
					all = append(all, c)
				}
				for _, c := range all {
					require.NoError(t, c.Close())
				}
			}
			require.Equal(t, pool, db.Stats().Idle)
			hurt()
			require.NoError(t, text.Dispatch(t.Context(), d, "first"), name)
		}
	})
}
