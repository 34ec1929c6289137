package sqltest

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	queue "github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// TestStatementsUseIndexes asks the database how it runs the statements of a push,
// a claim, an extension and a settlement of a queue that holds much.
func TestStatementsUseIndexes(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		p, db := t.tapped(t.T, t.source)
		b := t.broker(t.T, db, sqlqueue.WithPrefix(t.prefix), sqlqueue.WithDedupWindow(time.Hour))
		s := &scene{T: t.T, b: b, q: queue.Queue{Topic: "t", Group: "g"}}
		s.subscribe("g")
		fill(s, 5000, "ended", queue.Message{})
		for {
			c, err := b.Claim(t.Context(), s.q, queue.ClaimRequest{Limit: 500, Lease: time.Minute, AtMostOnce: true})
			require.NoError(t, err)
			if len(c.Deliveries) == 0 {
				break
			}
		}
		fill(s, 20_000, "delayed", queue.Message{Delay: time.Hour})
		fill(s, 1000, "ready", queue.Message{})
		s.claim(10)
		if t.dialect == sqlqueue.MySQL {
			t.query("ANALYZE TABLE " + t.prefix + "events")
		} else {
			t.query("ANALYZE")
		}

		var mu sync.Mutex
		seen := map[string][]driver.NamedValue{}
		p.set(func(st statement) loss {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(st.text, t.prefix+"events") {
				seen[st.text] = st.args
			}
			return kept
		})
		s.push(messages("new")...)
		_, err := b.Push(t.Context(), "t", messages("new")) // meets itself
		require.NoError(t, err)
		_, err = b.Extend(t.Context(), s.q, "", time.Minute, s.receipts())
		require.NoError(t, err)
		_, err = b.Settle(t.Context(), s.q, []queue.Settlement{{Receipt: s.held[0].Receipt}, {Receipt: s.held[1].Receipt, Verb: queue.Retry}, {Receipt: s.held[2].Receipt, Verb: queue.Bury}})
		require.NoError(t, err)
		_, err = b.Cancel(t.Context(), "t", "new")
		require.NoError(t, err)
		s.claim(50)
		require.NoError(t, b.Unsubscribe(t.Context(), queue.Queue{Topic: "t", Group: "none"}))
		p.set(nil)
		require.Greater(t, len(seen), 6)
		for text, args := range seen {
			if strings.HasPrefix(text, "INSERT") {
				continue
			}
			t.usesIndex(text, args)
		}
	})
}

// fill pushes n messages.
func fill(s *scene, n int, name string, m queue.Message) {
	s.Helper()
	for from := 0; from < n; from += 500 {
		var msgs []queue.Message
		for i := range 500 {
			m.ID = fmt.Sprint(name, " ", from+i)
			msgs = append(msgs, m)
		}
		s.push(msgs...)
	}
}

// query returns the rows of a query as text.
func (t *inTables) query(text string, args ...any) string {
	t.Helper()
	rows, err := t.db.QueryContext(context.Background(), text, args...)
	require.NoError(t, err, text)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var all strings.Builder
	for rows.Next() {
		values, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		require.NoError(t, rows.Scan(to...))
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			fmt.Fprintf(&all, "%s=%v ", columns[i], v)
		}
		fmt.Fprintln(&all)
	}
	require.NoError(t, rows.Err())
	return all.String()
}

// usesIndex fails if a statement reads all of the events.
func (t *inTables) usesIndex(text string, named []driver.NamedValue) {
	t.Helper()
	var args []any
	for _, v := range named {
		args = append(args, v.Value)
	}
	explain := "EXPLAIN "
	if t.dialect == sqlqueue.SQLite {
		explain = "EXPLAIN QUERY PLAN "
	}
	plan := t.query(explain+text, args...)
	for line := range strings.Lines(plan) {
		scan := map[sqlqueue.Dialect]bool{
			sqlqueue.MySQL:    strings.Contains(line, "table="+t.prefix+"events ") && (strings.Contains(line, "type=ALL") || strings.Contains(line, "type=index ")),
			sqlqueue.Postgres: strings.Contains(line, "Seq Scan on "+t.prefix+"events"),
			sqlqueue.SQLite:   strings.Contains(line, "SCAN "+t.prefix+"events"),
		}[t.dialect]
		if scan {
			t.Errorf("reads all events: %s\n%s", text, plan)
		}
	}
	require.Contains(t, plan, map[sqlqueue.Dialect]string{sqlqueue.MySQL: "key=", sqlqueue.Postgres: "Index", sqlqueue.SQLite: "USING"}[t.dialect], text)
}
