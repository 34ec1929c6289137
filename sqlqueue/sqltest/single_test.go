package sqltest

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// What these tests do takes PostgreSQL a single statement, of what an earlier call
// has seen: here something else has changed it meanwhile.

// TestGroupsChangeBetweenPushes changes the groups of a topic by another process.
func TestGroupsChangeBetweenPushes(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		source, prefix := e.source(t), sqlqueue.WithPrefix(newPrefix())
		other := e.broker(t, e.open(t, source), prefix)
		s := &scene{T: t, b: e.broker(t, e.open(t, source), prefix), q: driver.Queue{Topic: "t", Group: "g"}}
		n := 0
		pushed := func(groups ...string) {
			t.Helper()
			for range 2 { // the second knows of what the first saw
				n++
				s.push(messages(fmt.Sprint(n))...)
				for _, g := range []string{"g", "h", driver.DefaultGroup} {
					want := "none"
					for _, one := range groups {
						if one == g {
							want = "ready 0 0"
						}
					}
					require.Equal(t, want, s.look(g, fmt.Sprint(n)), "group %s, of %v", g, groups)
				}
			}
		}
		change := func(do func(b *sqlqueue.Broker, q driver.Queue) error, group string) {
			t.Helper()
			require.NoError(t, do(other, driver.Queue{Topic: "t", Group: group}))
		}
		subscribe := func(b *sqlqueue.Broker, q driver.Queue) error { return b.Subscribe(t.Context(), q) }
		remove := func(b *sqlqueue.Broker, q driver.Queue) error { return b.Unsubscribe(t.Context(), q) }
		change(subscribe, "g")
		pushed("g")
		change(subscribe, "h")
		pushed("g", "h")
		change(remove, "h")
		pushed("g")
		change(remove, "g")
		pushed(driver.DefaultGroup)
	})
}

// TestPushOfKnownAndNewIDs finds some ids taken, and stores the others.
func TestPushOfKnownAndNewIDs(t *testing.T) {
	eachScene(t, func(s *scene, _ engine, _ *sql.DB) {
		s.push(messages("a")...)
		s.push(messages("b")...)
		outcomes, err := s.b.Push(s.Context(), s.q.Topic, messages("c", "a", "d", "b"))
		require.NoError(s, err)
		for i, taken := range []bool{false, true, false, true} {
			require.Equal(s, taken, errors.Is(outcomes[i], driver.ErrDuplicate), i)
		}
		for _, id := range []string{"a", "b", "c", "d"} {
			require.Equal(s, "ready 0 0", s.look("g", id))
		}
	})
}

// TestClaimsInARow lets something come between claims that each leave some.
func TestClaimsInARow(t *testing.T) {
	eachScene(t, func(s *scene, _ engine, _ *sql.DB) {
		fill(s, 500, "many", driver.Message{})
		s.claim(10)
		first := s.receipts()
		s.claim(10)
		s.push(driver.Message{ID: "high", Priority: driver.High})
		behaviour.Eventually(s.T, func() bool { // of ten, six are of the high priority
			s.claim(10)
			for _, d := range s.held {
				if d.ID == "high" {
					return true
				}
			}
			return false
		}, "high")
		require.Less(s, len(s.list(driver.Running)), 60, "the high one came soon")

		require.NoError(s, s.b.Pause(s.Context(), s.q))
		c, err := s.b.Claim(s.Context(), s.q, driver.ClaimRequest{Limit: 10, Lease: time.Minute})
		require.NoError(s, err)
		require.Empty(s, c.Deliveries)
		require.NoError(s, s.b.Resume(s.Context(), s.q))

		s.claim(10)
		lost, err := s.b.Extend(s.Context(), s.q, "", time.Minute, first)
		require.NoError(s, err)
		require.NotContains(s, lost, true)
		seen := map[string]bool{}
		for len(seen) < 400 {
			s.claim(20)
			for i, d := range s.held {
				require.False(s, seen[d.ID], "claimed twice")
				seen[d.ID] = true
				require.True(s, i == 0 || !d.Due.Before(s.held[i-1].Due), "in order")
			}
		}
	})
}

// TestQueueBecomesAnother puts another queue in the place of one between two of its
// claims, as the tables are when they were emptied and filled anew.
func TestQueueBecomesAnother(t *testing.T) {
	e, prefix := engineOf(sqlqueue.Postgres), newPrefix()
	db := e.open(t, e.source(t))
	s := &scene{T: t, b: e.broker(t, db, sqlqueue.WithPrefix(prefix)), q: driver.Queue{Topic: "t", Group: "g"}}
	s.subscribe("g")
	s.push(messages("a", "b", "c")...)
	s.claim(1)
	_, err := db.ExecContext(t.Context(), "UPDATE "+prefix+"queues SET topic = 'other'")
	require.NoError(t, err)
	c, err := s.b.Claim(t.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
	require.NoError(t, err)
	require.Empty(t, c.Deliveries, "of another topic")
}

// TestClaimTakesSoMuchAtOnce has bodies of which a claim takes only some.
func TestClaimTakesSoMuchAtOnce(t *testing.T) {
	eachScene(t, func(s *scene, _ engine, _ *sql.DB) {
		for i := range 6 {
			s.push(driver.Message{ID: fmt.Sprint(i), Body: make([]byte, 400<<10)})
		}
		s.push(driver.Message{ID: "great", Body: make([]byte, 2<<20)})
		for _, want := range []int{2, 2, 2, 1} {
			c, err := s.b.Claim(s.Context(), s.q, driver.ClaimRequest{Limit: 100, Lease: time.Minute})
			require.NoError(s, err)
			require.Len(s, c.Deliveries, want)
			require.Equal(s, want == 1, c.Next > 0, "nothing is left")
		}
	})
}

// list returns the records of a state.
func (s *scene) list(state driver.State) []driver.Record {
	s.Helper()
	all, err := s.b.List(s.Context(), s.q, state, 0, 1000)
	require.NoError(s, err)
	return all
}
