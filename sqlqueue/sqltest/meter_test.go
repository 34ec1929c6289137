package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// meter counts the statements of a pool.
type meter struct {
	driver.Connector
	statements atomic.Int64
	mu         sync.Mutex
	counts     map[string]int
	delay      func(ctx context.Context, text string) error // called before each statement; may be nil
}

// metered opens a database with a meter.
func (e engine) metered(t testing.TB, source string) (*sql.DB, *meter) {
	t.Helper()
	db, err := sql.Open(e.driver, source)
	require.NoError(t, err)
	defer db.Close()
	m := &meter{Connector: sourceConnector{db.Driver(), source}, counts: map[string]int{}}
	metered := sql.OpenDB(m)
	t.Cleanup(func() { metered.Close() })
	return metered, m
}

type sourceConnector struct {
	driver driver.Driver
	source string
}

func (c sourceConnector) Driver() driver.Driver { return c.driver }

func (c sourceConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if d, ok := c.driver.(driver.DriverContext); ok {
		connector, err := d.OpenConnector(c.source)
		if err != nil {
			return nil, err
		}
		return connector.Connect(ctx)
	}
	return c.driver.Open(c.source)
}

func (m *meter) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := m.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return meteredConn{c, m}, nil
}

// saw notes a statement.
func (m *meter) saw(ctx context.Context, text string) error {
	m.statements.Add(1)
	m.mu.Lock()
	words := strings.Fields(text)
	m.counts[strings.Join(words[:min(2, len(words))], " ")]++
	delay := m.delay
	m.mu.Unlock()
	if delay == nil {
		return nil
	}
	return delay(ctx, text)
}

// during returns how many statements there are in a time, and which.
func (m *meter) during(d time.Duration) (int64, map[string]int) {
	m.mu.Lock()
	m.counts = map[string]int{}
	before := m.statements.Load()
	m.mu.Unlock()
	timer := time.NewTimer(d)
	<-timer.C
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := m.counts
	m.counts = map[string]int{}
	return m.statements.Load() - before, counts
}

func (m *meter) setDelay(f func(ctx context.Context, text string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = f
}

// meteredConn passes on what database/sql asks of the connections of all engines.
type meteredConn struct {
	driver.Conn
	m *meter
}

func (c meteredConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	q, ok := c.Conn.(driver.QueryerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	if err := c.m.saw(ctx, text); err != nil {
		return nil, err
	}
	return q.QueryContext(ctx, text, args)
}

func (c meteredConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	x, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	if err := c.m.saw(ctx, text); err != nil {
		return nil, err
	}
	return x.ExecContext(ctx, text, args)
}

func (c meteredConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
}

func (c meteredConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c meteredConn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c meteredConn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

func (c meteredConn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}
