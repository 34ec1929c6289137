package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/sqlqueue"
	"github.com/fanfare-go/fanfare/sqlqueue/pgxlisten"
)

// ear is a Listener that can be made deaf, and tells when it listens.
type ear struct {
	pgxlisten.Listener
	listening chan struct{}
	ended     chan error
}

var errDeaf = errors.New("deaf")

// newEar returns an ear whose sessions have the given name on the server. While
// deaf, if given, is true it cannot connect.
func newEar(t testing.TB, url, name string, deaf *atomic.Bool) *ear {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	config.RuntimeParams["application_name"] = name
	return &ear{
		Listener: func(ctx context.Context) (*pgx.Conn, error) {
			if deaf != nil && deaf.Load() {
				return nil, errDeaf
			}
			return pgx.ConnectConfig(ctx, config)
		},
		listening: make(chan struct{}, 100),
		ended:     make(chan error, 100),
	}
}

func (e *ear) Listen(ctx context.Context, channel string, listening func(), heard func(string)) error {
	err := e.Listener.Listen(ctx, channel, func() { listening(); e.listening <- struct{}{} }, heard)
	e.ended <- err
	return err
}

// sessions returns how many sessions of a name the server has.
func sessions(t testing.TB, db *sql.DB, name string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = $1", name).Scan(&n))
	return n
}

func terminate(t testing.TB, db *sql.DB, name string) {
	t.Helper()
	_, err := db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name)
	require.NoError(t, err)
}

// idleWithListener is how many statements a consumer of one queue runs at most
// in 3 s without work, while it listens: its row once in 4 s, what ended once in
// 10 s, and two claims.
const idleWithListener = 6

func TestListenerWakesWithoutPolling(t *testing.T) {
	e := engineOf(sqlqueue.Postgres)
	source, prefix, name := e.source(t), sqlqueue.WithPrefix(newPrefix()), newPrefix()
	db, m := e.metered(t, source)
	var deaf atomic.Bool
	ear := newEar(t, source, name, &deaf)
	d := dispatcher(t, e.broker(t, db, prefix, sqlqueue.WithListener(ear), sqlqueue.WithPollInterval(20*time.Millisecond)))
	other := dispatcher(t, e.broker(t, e.open(t, source), prefix))
	topic, late := latencies(t, d)
	dispatch := func(n int) {
		t.Helper()
		require.NoError(t, topic.Dispatch(t.Context(), other, time.Now().Round(0)))
		late.Wait(t, n)
	}
	<-ear.listening
	dispatch(1)
	asleep(t, m)
	n, which := m.during(3 * time.Second)
	require.LessOrEqual(t, n, int64(idleWithListener), which)
	dispatch(2)

	deaf.Store(true)
	terminate(t, db, name)
	require.NotErrorIs(t, <-ear.ended, context.Canceled)
	n, _ = m.during(500 * time.Millisecond)
	require.Greater(t, n, int64(idleWithListener), "it polls")
	dispatch(3)

	deaf.Store(false)
	<-ear.listening
	asleep(t, m)
	dispatch(4)
	require.Equal(t, 1, sessions(t, db, name))
}

func TestListenerWakesByCommit(t *testing.T) {
	e := engineOf(sqlqueue.Postgres)
	ear := newEar(t, e.source(t), newPrefix(), nil)
	testTxWakes(t, e, func() { <-ear.listening }, sqlqueue.WithListener(ear))
}

func TestQueueWorksWithoutItsListener(t *testing.T) {
	t.Parallel()
	e, s := engineOf(sqlqueue.Postgres), testsvc.StartPostgres(t)
	db := e.open(t, s.URL)
	file := filepath.Join(s.Dir, "data", "pg_hba.conf")
	rules, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append([]byte("host all stranger all scram-sha-256\n"), rules...), 0o600))
	for _, text := range []string{"CREATE ROLE stranger LOGIN PASSWORD 'right'", "SELECT pg_reload_conf()"} {
		_, err := db.Exec(text)
		require.NoError(t, err)
	}
	url := strings.Replace(s.URL, "postgres@", "stranger:wrong@", 1)
	behaviour.Eventually(t, func() bool {
		c, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_ = c.Close(t.Context())
		}
		return err != nil
	}, "refused")

	ear := newEar(t, url, "stranger", nil)
	b := e.broker(t, db, sqlqueue.WithListener(ear))
	other := dispatcher(t, e.broker(t, e.open(t, s.URL)))
	topic, late := latencies(t, dispatcher(t, b))
	require.ErrorContains(t, <-ear.ended, "password")
	for n := range 3 {
		require.NoError(t, topic.Dispatch(t.Context(), other, time.Now().Round(0)))
		late.Wait(t, n+1)
	}
	require.ErrorContains(t, <-ear.ended, "password", "it goes on trying")
}

func TestCloseEndsListening(t *testing.T) {
	e := engineOf(sqlqueue.Postgres)
	source, name := e.source(t), newPrefix()
	db := e.open(t, source)
	ear := newEar(t, source, name, nil)
	b := e.broker(t, db, sqlqueue.WithPrefix(newPrefix()), sqlqueue.WithListener(ear))
	q := driver.Queue{Topic: "t", Group: driver.DefaultGroup}
	waits := make(chan error, 10)
	for range cap(waits) {
		go func() {
			var err error
			for begin := time.Now(); err == nil && time.Since(begin) < 500*time.Millisecond; {
				err = b.Wait(t.Context(), q, 100*time.Millisecond)
			}
			waits <- err
		}()
	}
	<-ear.listening
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.Zero(t, sessions(t, db, name))
	for range cap(waits) {
		require.NoError(t, <-waits)
	}
	require.NoError(t, b.Wait(t.Context(), q, 10*time.Millisecond))
	require.Zero(t, sessions(t, db, name), "a Wait after Close does not listen")
}

// listen runs l in the background. It returns what is heard, and why l ended.
func listen(ctx context.Context, l pgxlisten.Listener, channel string) (listening <-chan struct{}, heard <-chan string, ended <-chan error) {
	on, payloads, end := make(chan struct{}), make(chan string, 100), make(chan error, 1)
	go func() {
		end <- l.Listen(ctx, channel, func() { close(on) }, func(p string) { payloads <- p })
	}()
	return on, payloads, end
}

func TestListen(t *testing.T) {
	e := engineOf(sqlqueue.Postgres)
	source := e.source(t)
	db := e.open(t, source)
	notify := func(channel, payload string) {
		t.Helper()
		_, err := db.Exec("SELECT pg_notify($1, $2)", channel, payload)
		require.NoError(t, err)
	}
	for _, channel := range []string{"events", "Events", `a "b" c`, "x; DROP TABLE y", "ünï", "select"} {
		t.Run(channel, func(t *testing.T) {
			name := newPrefix()
			ctx, cancel := context.WithCancel(t.Context())
			listening, heard, ended := listen(ctx, newEar(t, source, name, nil).Listener, channel)
			<-listening
			notify("other", "0")
			notify(channel, "1")
			notify(channel, "")
			require.Equal(t, "1", <-heard)
			require.Empty(t, <-heard)
			begin := time.Now()
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
			require.Less(t, time.Since(begin), time.Second)
			behaviour.Eventually(t, func() bool { return sessions(t, db, name) == 0 }, "closed")
			require.Empty(t, heard)
		})
	}
}

func TestListenErrors(t *testing.T) {
	_, err := pgxlisten.New("postgres://%zz")
	require.Error(t, err)
	never := func() { t.Error("it listens") }
	require.Error(t, pgxlisten.Listener(nil).Listen(t.Context(), "c", never, nil))
	l, err := pgxlisten.New("postgres://127.0.0.1:1/x")
	require.NoError(t, err)
	require.Error(t, l.Listen(t.Context(), "c", never, nil))

	source := engineOf(sqlqueue.Postgres).source(t)
	taken := pgxlisten.Listener(func(ctx context.Context) (*pgx.Conn, error) {
		config, err := pgx.ParseConfig(source)
		if err != nil {
			return nil, err
		}
		config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
		return pgx.ConnectConfig(ctx, config)
	})
	listening, _, ended := listen(t.Context(), taken, "taken")
	<-listening
	_, err = engineOf(sqlqueue.Postgres).open(t, source).Exec("SELECT pg_notify('taken', '')")
	require.NoError(t, err)
	require.ErrorContains(t, <-ended, "OnNotification")
}

func TestListenNoticesASilentServer(t *testing.T) {
	t.Parallel()
	s := testsvc.StartPostgres(t)
	l, err := pgxlisten.New(s.URL)
	require.NoError(t, err)
	listening, _, ended := listen(t.Context(), l, "c")
	ctx, cancel := context.WithCancel(t.Context())
	alsoListening, _, alsoEnded := listen(ctx, l, "c")
	<-listening
	<-alsoListening
	s.Pause()
	defer s.Resume()
	begin := time.Now()
	cancel()
	require.ErrorIs(t, <-alsoEnded, context.Canceled)
	require.Less(t, time.Since(begin), 4*time.Second, "it does not wait for the server to say goodbye")
	require.Error(t, <-ended)
	t.Logf("noticed after %v", time.Since(begin))
	require.Less(t, time.Since(begin), 30*time.Second)
}

func Example_listener() {
	db, err := sql.Open("pgx", "postgres://shop@db.example.org/shop")
	if err != nil {
		panic(err)
	}
	listener, err := pgxlisten.New("postgres://shop@db.example.org/shop")
	if err != nil {
		panic(err)
	}
	queue, err := sqlqueue.New(db, sqlqueue.Postgres, sqlqueue.WithListener(listener))
	if err != nil {
		panic(err)
	}
	defer queue.Close() // after d was stopped
	d, err := fanfare.New(queue)
	if err != nil {
		panic(err)
	}
	_ = d
}
