// Package pgxlisten lets the queues of package sqlqueue hear at once what other
// processes dispatch through PostgreSQL, over a connection of pgx. It is a module
// of its own, so that pgx is no requirement of fanfare.
//
//	listener, err := pgxlisten.New(url)
//	queue, err := sqlqueue.New(db, sqlqueue.Postgres, sqlqueue.WithListener(listener))
package pgxlisten

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Listener is a sqlqueue.Listener: a function that makes a connection, of which
// it has one at a time. Where [New] does not serve, convert your own, such as one
// for the server of a pgxpool.Pool:
//
//	config := pool.Config().ConnConfig
//	listener := pgxlisten.Listener(func(ctx context.Context) (*pgx.Conn, error) {
//		return pgx.ConnectConfig(ctx, config)
//	})
//
// The connection must be one to the server that is written to, with no pooler in
// between that gives it to others after each transaction, as PgBouncer may: such
// a one drops notifications. Its OnNotification must be left to pgx.
type Listener func(ctx context.Context) (*pgx.Conn, error)

// New returns a Listener that connects as pgx.Connect does. It does not connect:
// an error is about connString.
func New(connString string) (Listener, error) {
	config, err := pgx.ParseConfig(connString)
	if err != nil {
		return nil, fmt.Errorf("pgxlisten: %w", err)
	}
	return func(ctx context.Context) (*pgx.Conn, error) { return pgx.ConnectConfig(ctx, config) }, nil
}

// How long connecting may take, after what silence the server is asked whether
// it is there, and for how long an answer and the end of a connection are awaited.
const (
	connectTimeout = 10 * time.Second
	quiet          = 5 * time.Second
	answerTimeout  = 5 * time.Second
	closeTimeout   = time.Second
)

// Listen listens to a channel. It calls listening when it does, and then heard
// with the payload of each notification, until ctx ends or the connection is
// lost, and returns why. A server that does not answer any more is noticed
// within about 10 s. The connection is closed when it returns, or at most 15 s
// later where the server is gone.
func (l Listener) Listen(ctx context.Context, channel string, listening func(), heard func(payload string)) error {
	if l == nil {
		return errors.New("pgxlisten: nil Listener")
	}
	conn, err := l.open(ctx, channel)
	if err != nil {
		return fmt.Errorf("pgxlisten: %w", err)
	}
	defer closeConn(conn)
	listening()
	for {
		payload, err := next(ctx, conn, channel)
		if err != nil {
			return fmt.Errorf("pgxlisten: %w", err)
		}
		heard(payload)
	}
}

// open returns a connection that listens.
func (l Listener) open(ctx context.Context, channel string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := l(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		closeConn(conn)
		return nil, err
	}
	return conn, nil
}

// next waits for a notification on the channel, and asks after the server
// whenever it has been quiet.
func next(ctx context.Context, conn *pgx.Conn, channel string) (string, error) {
	for {
		waiting, cancel := context.WithTimeout(ctx, quiet)
		n, err := conn.WaitForNotification(waiting)
		silent := err != nil && waiting.Err() != nil
		cancel()
		switch {
		case err == nil && n == nil:
			err = errors.New("notifications go to the connection's OnNotification")
		case err == nil && n.Channel == channel:
			return n.Payload, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case silent:
			err = ping(ctx, conn)
		}
		if err != nil {
			return "", err
		}
	}
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return conn.Ping(ctx)
}

// closeConn closes a connection, but does not wait for a server that is gone.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
	select {
	case <-conn.PgConn().CleanupDone(): // also where pgx closes by itself, after an error
	case <-ctx.Done():
	}
}
