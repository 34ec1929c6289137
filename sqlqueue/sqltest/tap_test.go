package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"testing"

	"github.com/fanfare-go/fanfare/sqlqueue"
)

// tap sits between database/sql and a driver. It sees every statement and can
// lose the connection at any of them.
type tap struct {
	driver   driver.Driver
	source   string
	prepares bool // the driver has no other way to pass parameters

	mu   sync.Mutex
	lose func(s statement) loss // nil: it only passes through
	down bool                   // no connection can be made
}

// statement is one that runs.
type statement struct {
	text string
	args []driver.NamedValue
}

// loss is when a connection is lost.
type loss uint8

const (
	kept       loss = iota
	unsent          // before the statement runs
	unanswered      // after it ran
	unread          // when its rows are read, or after it ran if it has none
)

func (l loss) String() string { return [...]string{"kept", "unsent", "unanswered", "unread"}[l] }

// errLost is the error of a connection that is lost.
var errLost = errors.New("connection lost by the test")

// tapped opens a database through a tap.
func (e engine) tapped(t *testing.T, source string) (*tap, *sql.DB) {
	t.Helper()
	p := &tap{driver: e.open(t, source).Driver(), source: source, prepares: e.dialect == sqlqueue.MySQL}
	db := sql.OpenDB(p)
	t.Cleanup(func() { db.Close() })
	return p, db
}

// set says what becomes of each statement from now on. lose may be called by
// several goroutines, and may take its time.
func (p *tap) set(lose func(s statement) loss) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.down = lose, false
}

// setDown lets no more connections be made, until set is called.
func (p *tap) setDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
}

func (p *tap) see(s statement) loss {
	p.mu.Lock()
	lose := p.lose
	p.mu.Unlock()
	if lose == nil {
		return kept
	}
	return lose(s)
}

// Driver implements driver.Connector.
func (p *tap) Driver() driver.Driver { return p.driver }

// Connect implements driver.Connector.
func (p *tap) Connect(ctx context.Context) (driver.Conn, error) {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down {
		return nil, errLost
	}
	c, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &tappedConn{Conn: c, tap: p}, nil
}

func (p *tap) connect(ctx context.Context) (driver.Conn, error) {
	d, ok := p.driver.(driver.DriverContext)
	if !ok {
		return p.driver.Open(p.source)
	}
	c, err := d.OpenConnector(p.source)
	if err != nil {
		return nil, err
	}
	return c.Connect(ctx)
}

// tappedConn is a connection through a tap.
type tappedConn struct {
	driver.Conn
	tap  *tap
	lost bool
}

// cut loses the connection.
func (c *tappedConn) cut() {
	c.lost = true
	_ = c.Conn.Close()
}

// Close implements driver.Conn.
func (c *tappedConn) Close() error {
	if c.lost {
		return nil
	}
	return c.Conn.Close()
}

// IsValid implements driver.Validator.
func (c *tappedConn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !c.lost && (!ok || v.IsValid())
}

// ResetSession implements driver.SessionResetter.
func (c *tappedConn) ResetSession(ctx context.Context) error {
	if c.lost {
		return driver.ErrBadConn
	}
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

// BeginTx implements driver.ConnBeginTx.
func (c *tappedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.lost {
		return nil, driver.ErrBadConn
	}
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *tappedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *tappedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	if c.lost {
		return nil, driver.ErrBadConn
	}
	s, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	return &tappedStmt{s, c, text}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *tappedConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if c.tap.prepares && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.exec(statement{text, args}, func() (driver.Result, error) {
		return c.Conn.(driver.ExecerContext).ExecContext(ctx, text, args)
	})
}

// QueryContext implements driver.QueryerContext.
func (c *tappedConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	if c.tap.prepares && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.query(statement{text, args}, func() (driver.Rows, error) {
		return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
	})
}

func (c *tappedConn) exec(s statement, run func() (driver.Result, error)) (driver.Result, error) {
	if c.lost {
		return nil, driver.ErrBadConn
	}
	switch c.tap.see(s) {
	case kept:
		return run()
	case unsent:
	default:
		_, _ = run()
	}
	c.cut()
	return nil, errLost
}

func (c *tappedConn) query(s statement, run func() (driver.Rows, error)) (driver.Rows, error) {
	if c.lost {
		return nil, driver.ErrBadConn
	}
	l := c.tap.see(s)
	if l == unsent {
		c.cut()
		return nil, errLost
	}
	rows, err := run()
	switch {
	case err != nil || l == kept:
		return rows, err
	case l == unread:
		return lostRows{rows, c}, nil
	}
	_ = rows.Close()
	c.cut()
	return nil, errLost
}

// tappedStmt is a prepared statement of a tappedConn.
type tappedStmt struct {
	driver.Stmt
	c    *tappedConn
	text string
}

// Close implements driver.Stmt.
func (s *tappedStmt) Close() error {
	if s.c.lost {
		return nil
	}
	return s.Stmt.Close()
}

// CheckNamedValue implements driver.NamedValueChecker.
func (s *tappedStmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// ExecContext implements driver.StmtExecContext.
func (s *tappedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.exec(statement{s.text, args}, func() (driver.Result, error) {
		return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	})
}

// QueryContext implements driver.StmtQueryContext.
func (s *tappedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.query(statement{s.text, args}, func() (driver.Rows, error) {
		return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	})
}

// lostRows lose their connection when they are read.
type lostRows struct {
	driver.Rows
	c *tappedConn
}

func (r lostRows) Next([]driver.Value) error {
	if !r.c.lost {
		_ = r.Rows.Close()
		r.c.cut()
	}
	return errLost
}

func (r lostRows) Close() error {
	if r.c.lost {
		return nil
	}
	return r.Rows.Close()
}
