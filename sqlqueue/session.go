package sqlqueue

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// execer is a connection or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// session is where statements run. Their texts name the tables in braces, as in
// {events}, and have a ? for each parameter.
type session struct {
	*Broker
	x      execer
	shared string // in a transaction of the caller's: makes a SELECT see what was committed since that began
}

// exec runs a statement and returns how many rows it changed.
func (s session) exec(ctx context.Context, text string, args ...any) (int64, error) {
	r, err := s.x.ExecContext(s.patience(ctx), s.text(text), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// each runs a query and calls row for every row, with the function that scans it.
func (s session) each(ctx context.Context, row func(scan func(dest ...any) error) error, text string, args ...any) error {
	rows, err := s.x.QueryContext(s.patience(ctx), s.text(text), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// patience returns the context of one statement. In process a statement is not
// cut off, since that could end the transaction; between statements it is.
func (s session) patience(ctx context.Context) context.Context {
	if s.embedded && ctx.Err() == nil {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// text returns the statement as the database takes it.
func (s session) text(text string) string {
	text = s.tables.Replace(text)
	if !s.numbered {
		return text
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		text = after
	}
}

// clock returns the time of a reading of the database's clock.
func (s session) clock(reading int64) int64 {
	if s.embedded {
		return time.Now().UnixMicro()
	}
	return reading
}

// marks returns n question marks in parentheses.
func marks(n int) string {
	return "(?" + strings.Repeat(", ?", n-1) + ")"
}

// among returns the list of an IN for keys, and its parameters. There are as
// many as the next power of two, the last one repeated: so that the number of
// different statements, which drivers prepare and keep, stays small.
func among[T any](keys []T) (string, []any) {
	n := 1
	for n < len(keys) {
		n *= 2
	}
	args := make([]any, n)
	for i := range args {
		args[i] = keys[min(i, len(keys)-1)]
	}
	return marks(n), args
}

// parameters makes one list of parameters of several.
func parameters(lists ...any) []any {
	var all []any
	for _, l := range lists {
		if many, ok := l.([]any); ok {
			all = append(all, many...)
		} else {
			all = append(all, l)
		}
	}
	return all
}

// blob returns s as a parameter for a column of bytes.
func blob(s string) []byte { return append(make([]byte, 0, len(s)), s...) }

// blobs returns names as parameters.
func blobs(names []string) [][]byte {
	all := make([][]byte, len(names))
	for i, name := range names {
		all[i] = blob(name)
	}
	return all
}

// notNil returns an empty body for one that is nil, which is NULL to drivers.
func notNil(body []byte) []byte {
	if body == nil {
		return []byte{}
	}
	return body
}
