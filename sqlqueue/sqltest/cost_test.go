package sqltest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// The tests of this file log what they measure. On a quiet machine:
//
//	go test -count=1 -v -run 'TestOnTime|TestPickUp|TestIdleCost' .

// setup is a way to run an engine.
type setup struct {
	engine
	listens bool
}

func (s setup) name() string {
	if s.listens {
		return s.engine.name + " with listener"
	}
	return s.engine.name
}

// eachSetup runs a test on every engine as it is by default, and on PostgreSQL
// with a Listener.
func eachSetup(t *testing.T, test func(t *testing.T, s setup)) {
	for _, e := range engines {
		for _, listens := range []bool{false, true} {
			if s := (setup{e, listens}); !listens || e.dialect == sqlqueue.Postgres {
				t.Run(s.name(), func(t *testing.T) { test(t, s) })
			}
		}
	}
}

// open returns a consumer that listens, if it is to, and a dispatcher on a broker
// of its own, which cannot wake the consumer as one in its process.
func (s setup) open(t *testing.T) (consumer, other *fanfare.Durable, m *meter) {
	t.Helper()
	source, prefix := s.source(t), sqlqueue.WithPrefix(newPrefix())
	db, m := s.metered(t, source)
	opts := []sqlqueue.Option{prefix}
	var ear *ear
	if s.listens {
		ear = newEar(t, source, newPrefix(), nil)
		opts = append(opts, sqlqueue.WithListener(ear))
	}
	b := s.broker(t, db, opts...)
	consumer, err := fanfare.New(b)
	require.NoError(t, err)
	behaviour.StopWith(t, consumer)
	other, err = fanfare.New(s.broker(t, s.engine.open(t, source), prefix))
	require.NoError(t, err)
	behaviour.StopWith(t, other)
	if s.listens {
		require.NoError(t, b.Wait(t.Context(), driver.Queue{Topic: "t", Group: "g"}, time.Millisecond))
		<-ear.listening
	}
	return consumer, other, m
}

func TestOnTime(t *testing.T) {
	eachSetup(t, func(t *testing.T, s setup) {
		d, _, _ := s.open(t)
		topic, got := latencies(t, d)
		for i := range 20 { // far enough apart for the consumer to fall asleep between them
			delay := time.Duration(i) * 97 * time.Millisecond
			require.NoError(t, topic.Dispatch(t.Context(), d, time.Now().Add(delay).Round(0), fanfare.Delay(delay)))
		}
		late := got.Wait(t, 20)
		slices.Sort(late)
		require.GreaterOrEqual(t, late[0], time.Duration(0), "never early")
		require.Less(t, late[10], time.Second, late)
		t.Logf("late: median %v, greatest %v", late[10], late[19])
	})
}

func TestPickUp(t *testing.T) {
	const events = 200
	eachSetup(t, func(t *testing.T, s setup) {
		d, other, _ := s.open(t)
		topic, got := latencies(t, d)
		pace := time.NewTicker(23 * time.Millisecond) // which does not divide the poll interval
		defer pace.Stop()
		for range events {
			<-pace.C
			require.NoError(t, topic.Dispatch(t.Context(), other, time.Now().Round(0)))
		}
		late := got.Wait(t, events)
		slices.Sort(late)
		require.Less(t, late[events/2], time.Second, late)
		t.Logf("handled after the begin of the dispatch: median %v, 99%% %v, greatest %v", late[events/2], late[events*99/100], late[events-1])
	})
}

// idleFor is for how long consumers are watched that have nothing to do.
const idleFor = 20 * time.Second

func TestIdleCost(t *testing.T) {
	eachSetup(t, func(t *testing.T, s setup) {
		t.Parallel()
		d, _, m := s.open(t)
		_, _ = latencies(t, d)
		// Looks: 20 a second, or none. Claims: one every 2 s. The row of the consumer:
		// every 4 s, what ended: every 10 s, in one statement each or, in process,
		// in a transaction of up to five. Some more at the start.
		greatest := int64(25 * idleFor.Seconds())
		if s.listens {
			greatest = int64(1.5 * idleFor.Seconds())
		}
		n, which := m.during(idleFor)
		require.LessOrEqual(t, n, greatest, which)
		require.NotZero(t, n)
		t.Logf("%.2f statements a second for one idle topic: %v", float64(n)/idleFor.Seconds(), which)
	})
}

// BenchmarkDispatch includes the transaction and, on PostgreSQL, the notification.
func BenchmarkDispatch(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			db := e.open(b, e.source(b))
			d, err := fanfare.New(e.broker(b, db, sqlqueue.WithPrefix(newPrefix())))
			require.NoError(b, err)
			topic := fanfare.NewTopic[int]("bench")
			for n := 0; b.Loop(); n++ {
				require.NoError(b, topic.Dispatch(b.Context(), d, n))
			}
		})
	}
}
