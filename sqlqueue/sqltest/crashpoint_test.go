package sqltest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// TestEveryStatementCanBeLost loses the connection at each statement of each
// verb: before it, after it, and while its rows are read; for once, or until the
// verb has given up.
func TestEveryStatementCanBeLost(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		source, prefix := e.source(t), newPrefix()
		soundDB := e.open(t, source)
		sound := e.broker(t, soundDB, sqlqueue.WithPrefix(prefix))
		for _, v := range verbs {
			t.Run(v.name, func(t *testing.T) {
				p, db := e.tapped(t, source)
				lossy := e.broker(t, db, sqlqueue.WithPrefix(prefix))
				s := scene{T: t, b: sound, expire: func() { // all leases
					_, err := soundDB.ExecContext(t.Context(), "UPDATE "+prefix+"events SET at = 1 WHERE token <> 0 AND attempts > 0")
					require.NoError(t, err)
				}}
				points := 0
				for _, how := range []struct {
					loss
					lasting bool
				}{{unsent, false}, {unanswered, false}, {unread, false}, {unanswered, true}} {
					points += losePoints(s, v, lossy, p, how.loss, how.lasting)
				}
				behaviour.Eventually(t, func() bool { return db.Stats().InUse == 0 }, "connections that were not given back")
				t.Logf("%d points", points)
			})
		}
	})
}

// patience bounds calls that nothing hinders.
const patience = 20 * time.Second

// losePoints loses the connection at the first statement, at the second, and so
// on until the verb has no more. It returns how many it has.
func losePoints(of scene, v verb, lossy *sqlqueue.Broker, p *tap, l loss, lasting bool) int {
	t := of.T
	t.Helper()
	for n := 1; ; n++ {
		s := &of
		*s = scene{T: t, b: of.b, expire: of.expire}
		s.name = fmt.Sprintf("%s, statement %d %v, lasting %v", v.name, n, l, lasting)
		s.q = driver.Queue{Topic: s.name, Group: "g"}
		v.arrange(s)
		seen, text := 0, ""
		p.set(func(st statement) loss {
			if seen++; seen == n {
				text = st.text
			}
			if seen < n || seen > n && !lasting {
				return kept
			}
			if lasting {
				p.setDown()
			}
			return l
		})
		err := s.try(v, lossy, patience)
		p.set(nil)
		if text == "" {
			require.NoError(t, err, s.name)
			require.True(t, v.done(s) || v.steps, s.name)
			return n - 1
		}
		name := fmt.Sprintf("%s %.60q: %v", s.name, text, err)
		done := v.done(s)
		committing := text == "COMMIT" || strings.Contains(text, "RETURNING") // which is a transaction of its own
		switch {
		case err == nil:
			require.True(t, done || v.steps, name)
		case errors.Is(err, driver.ErrUnknownOutcome):
			require.True(t, committing, name)
			require.False(t, l == unsent && done && !v.steps, name)
		default:
			require.ErrorIs(t, err, driver.ErrUnavailable, name)
			require.True(t, lasting, "%s: it is to be tried again", name)
			require.False(t, done && !v.steps, name)
		}
		behaviour.Eventually(t, func() bool { // the server may still hold locks of the lost connection
			require.NoError(t, s.try(v, lossy, patience), name)
			return v.done(s)
		}, name)
	}
}
