package sqlqueue

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// For how long a step is tried again that the database undid, because of a
// deadlock or a lock, and how often one for which a connection turned out to be
// broken, not counting those that were in the pool.
const (
	undonePatience = 10 * time.Second
	brokenTries    = 5
)

// transact runs f in a transaction and commits it. f runs again if the database
// undid it, so it must not keep anything of an earlier run. An error of
// transact has been classified; it matches driver.ErrUnknownOutcome only if a
// commit was not answered.
func (b *Broker) transact(ctx context.Context, f func(s session) error) error {
	if b.embedded {
		select {
		case b.writing <- struct{}{}:
			defer func() { <-b.writing }()
		case <-ctx.Done():
			return b.failure(ctx, ctx.Err())
		}
	}
	return b.repeat(ctx, func(s session) error {
		if err := s.write(ctx, f); err != nil {
			return err
		}
		_, err := s.exec(ctx, "COMMIT")
		if err == nil {
			return nil
		}
		s.rollback(ctx)
		if commitUndone(err) {
			return err
		}
		return &commitError{err}
	})
}

// write begins a transaction and runs f in it. If that fails, it is rolled back.
func (s session) write(ctx context.Context, f func(s session) error) error {
	for i, text := range s.begin {
		if _, err := s.exec(ctx, text); err != nil {
			if i > 0 {
				s.discard() // else the level is that of the next transaction, whosoever it is
			}
			return err
		}
	}
	err := f(s)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.rollback(ctx)
	}
	return err
}

// rollback ends a transaction that failed. A connection on which that is not
// certain is closed: the database then does it.
func (s session) rollback(ctx context.Context) {
	if _, err := s.exec(s.lasting(ctx), "ROLLBACK"); err != nil && !s.embedded {
		s.discard()
	}
}

// lasting returns ctx, but one that does not end where the database is in process.
func (s session) lasting(ctx context.Context) context.Context {
	if s.embedded {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// discard closes the connection of s instead of giving it back to the pool.
func (s session) discard() {
	if c, ok := s.x.(*sql.Conn); ok {
		_ = c.Raw(func(any) error { return sqldriver.ErrBadConn })
	}
}

// once runs f, which is one statement outside of a transaction that changes
// something. An error of once has been classified; it matches
// driver.ErrUnknownOutcome if the statement may have been carried out.
func (b *Broker) once(ctx context.Context, f func(s session) error) error {
	return b.repeat(ctx, func(s session) error {
		err := f(s)
		if err == nil || commitUndone(err) || errors.Is(err, sqldriver.ErrBadConn) {
			return err
		}
		return &commitError{err}
	})
}

// read runs f on a connection, outside of a transaction. f runs again as in
// transact.
func (b *Broker) read(ctx context.Context, f func(s session) error) error {
	return b.repeat(ctx, f)
}

// repeat runs f on a connection until it neither was undone nor met a broken
// connection, or that has happened too often.
func (b *Broker) repeat(ctx context.Context, f func(s session) error) error {
	begin := time.Now()
	for undone, broken, idle := 0, 0, 0; ; {
		err := b.connected(ctx, f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
		case isUndone(err) && time.Since(begin) < undonePatience:
			undone++
			if pause(ctx, min(time.Duration(undone), 5)*time.Millisecond) {
				continue
			}
		case isBroken(err):
			if broken == 0 {
				idle = b.db.Stats().Idle // each of them may be broken as well
			}
			if broken++; broken <= brokenTries+idle {
				continue
			}
		}
		return b.failure(ctx, err)
	}
}

// connected runs f on a connection of the pool.
func (b *Broker) connected(ctx context.Context, f func(s session) error) error {
	conn, err := b.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(session{Broker: b, x: conn})
}

// pause waits for a random part of d, at least half, and reports false if ctx
// ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d - rand.N(d/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// commitError is the error of a commit that may have been carried out.
type commitError struct{ err error }

func (e *commitError) Error() string { return "commit: " + e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// failure classifies the error of a step, which changed nothing unless it is a
// commitError.
func (b *Broker) failure(ctx context.Context, err error) error {
	what := classify(err)
	if cause := ctx.Err(); cause != nil && what == nil {
		return fmt.Errorf("sqlqueue: %w: %w", driver.ErrUnavailable, cause)
	}
	if what == nil {
		return fmt.Errorf("sqlqueue: %w", err)
	}
	return fmt.Errorf("sqlqueue: %w: %w", what, err)
}
