package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// rarely is a poll interval that no test waits for: what wakes a consumer then
// is something else.
const rarely = time.Hour

// dispatcher returns one on b that looks at its queues by itself only once an hour.
func dispatcher(t *testing.T, b driver.Broker) *fanfare.Durable {
	t.Helper()
	d, err := fanfare.New(b, fanfare.WithTickerInterval(time.Hour))
	require.NoError(t, err)
	behaviour.StopWith(t, d)
	return d
}

// latencies returns a topic of the times when events are due, and what a handler
// of d gets: how late they come.
func latencies(t *testing.T, d *fanfare.Durable) (fanfare.Topic[time.Time], *behaviour.Received[time.Duration]) {
	t.Helper()
	topic, late := fanfare.NewTopic[time.Time]("latency"), behaviour.NewReceived[time.Duration]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, due time.Time) error {
		late.Add(time.Since(due))
		return nil
	})
	require.NoError(t, err)
	return topic, late
}

// asleep waits until a consumer that has nothing to do waits.
func asleep(t *testing.T, m *meter) {
	t.Helper()
	last := int64(-1)
	behaviour.Eventually(t, func() bool {
		n, _ := m.during(100 * time.Millisecond)
		was := last
		last = n
		return n == 0 && was == 0
	}, "asleep")
}

// TestPushWithoutAnswerWakes loses the answers of a push to a topic that is not
// known and of one to a topic that is, which both stored their messages.
func TestPushWithoutAnswerWakes(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		p, db := e.tapped(t, e.source(t))
		b := e.broker(t, db, sqlqueue.WithPrefix(newPrefix()), sqlqueue.WithPollInterval(rarely))
		s := &scene{T: t, b: b, q: driver.Queue{Topic: "t", Group: "g"}}
		s.subscribe("g")
		for _, id := range []string{"a", "b"} {
			c, err := b.Claim(t.Context(), s.q, driver.ClaimRequest{Limit: 1, Lease: rarely})
			require.NoError(t, err)
			require.Empty(t, c.Deliveries)
			require.NoError(t, b.Wait(t.Context(), s.q, 0), "the wake of what was before")
			lost := false
			p.set(func(st statement) loss {
				if lost || st.text != "COMMIT" && !strings.Contains(st.text, "RETURNING") {
					return kept
				}
				lost = true
				return unanswered
			})
			outcomes, err := b.Push(t.Context(), s.q.Topic, messages(id))
			p.set(nil)
			require.ErrorIs(t, errors.Join(append(outcomes, err)...), driver.ErrUnknownOutcome)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			require.NoError(t, b.Wait(ctx, s.q, rarely), "it slept on")
			s.claim(1)
			s.push(messages(id + "+")...) // so that the topic is known
			s.claim(1)
		}
	})
}

func TestDispatchInTransactionWakesWithItsCommit(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) { testTxWakes(t, e, func() {}) })
}

// testTxWakes calls ready when the consumer waits, or is about to.
func testTxWakes(t *testing.T, e engine, ready func(), opts ...sqlqueue.Option) {
	source := e.source(t)
	db := e.open(t, source)
	if e.dialect == sqlqueue.SQLite { // which else does not wait for others who write
		db = e.open(t, source+"&_pragma=busy_timeout(10000)")
	}
	d := dispatcher(t, e.broker(t, e.open(t, source), append(opts, sqlqueue.WithPrefix(newPrefix()), sqlqueue.WithPollInterval(rarely))...))
	topic, late := latencies(t, d)
	ready()
	begin := func() *sql.Tx {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d.InTx(tx), time.Now().Round(0)))
		return tx
	}
	require.NoError(t, begin().Rollback())
	for n, open := range []time.Duration{0, 10 * time.Millisecond, 200 * time.Millisecond} {
		tx := begin()
		<-time.After(open)
		require.Len(t, late.All(), n, "not before the commit")
		require.NoError(t, tx.Commit())
		committed := time.Now()
		late.Wait(t, n+1)
		after := time.Since(committed)
		t.Logf("open for %v, handled %v after the commit", open, after)
		require.Less(t, after, 5*time.Second)
	}
}

func TestWaitEndsInTime(t *testing.T) {
	const long = 300 * time.Millisecond
	q := driver.Queue{Topic: "t", Group: driver.DefaultGroup}
	wait := func(t *testing.T, b *sqlqueue.Broker) {
		t.Helper()
		begin := time.Now()
		_ = b.Wait(t.Context(), q, long)
		require.Less(t, time.Since(begin), 5*time.Second)
	}
	t.Run("though an event is put off again and again", func(t *testing.T) {
		eachEngine(t, func(t *testing.T, e engine) {
			db := e.open(t, e.source(t))
			prefix := sqlqueue.WithPrefix(newPrefix())
			b, other := e.broker(t, db, prefix, sqlqueue.WithPollInterval(10*time.Millisecond)), e.broker(t, db, prefix)
			_, err := other.Push(t.Context(), q.Topic, []driver.Message{{ID: "m", Delay: long}})
			require.NoError(t, err)
			ended := make(chan struct{})
			defer func() { <-ended }()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				defer close(ended)
				for end := time.After(10 * time.Second); ; {
					_, _ = other.Reschedule(ctx, q.Topic, "m", time.Now().Add(long*9/10))
					select {
					case <-end:
						return
					case <-ctx.Done():
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			}()
			wait(t, b)
		})
	})
	t.Run("though the database does not answer", func(t *testing.T) {
		e := engineOf(sqlqueue.Postgres)
		db, m := e.metered(t, e.source(t))
		b := e.broker(t, db, sqlqueue.WithPrefix(newPrefix()), sqlqueue.WithPollInterval(time.Millisecond))
		m.setDelay(func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() })
		wait(t, b)
	})
}

func TestNotificationsDelayNobodyBeyondTheirDeadline(t *testing.T) {
	e := engineOf(sqlqueue.Postgres)
	db, m := e.metered(t, e.source(t))
	b := e.broker(t, db, sqlqueue.WithPrefix(newPrefix()))
	require.NoError(t, b.Subscribe(t.Context(), driver.Queue{Topic: "t", Group: "g"}))
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.setDelay(func(_ context.Context, text string) error {
		if strings.Contains(text, "pg_notify") {
			once.Do(func() { close(stuck); <-release })
		}
		return nil
	})
	push := func(id string) <-chan error {
		pushed := make(chan error, 1)
		go func() {
			outcomes, err := b.Push(t.Context(), "t", []driver.Message{{ID: id}})
			pushed <- errors.Join(append(outcomes, err)...)
		}()
		return pushed
	}
	first := push("1")
	<-stuck
	select {
	case err := <-push("2"):
		require.NoError(t, err, "it is stored, and its notification given up")
	case <-time.After(10 * time.Second):
		t.Error("a dispatch waits for the notification of another for ever")
	}
	close(release)
	require.NoError(t, <-first)
}

func TestTwoDispatchersOfOneBroker(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		b := e.broker(t, e.open(t, e.source(t)), sqlqueue.WithPrefix(newPrefix()), sqlqueue.WithPollInterval(rarely))
		topic, got := fanfare.NewTopic[int]("t"), behaviour.NewReceived[int]()
		var all []*fanfare.Durable
		for range 2 {
			d := dispatcher(t, b)
			_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
				got.Add(n)
				return nil
			}, fanfare.Concurrency(1))
			require.NoError(t, err)
			all = append(all, d)
		}
		for n := range 50 {
			require.NoError(t, topic.Dispatch(t.Context(), all[n%2], n))
			if n%3 == 0 {
				got.Wait(t, n+1)
			}
		}
		got.Wait(t, 50)
	})
}

func engineOf(d sqlqueue.Dialect) engine {
	for _, e := range engines {
		if e.dialect == d {
			return e
		}
	}
	panic(d)
}
