package fanfare

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// heard are handlers of which one is registered.
var heard = &audience{handlers: []*localHandler{{}}}

// startTimers returns timers that note what they fire.
func startTimers(t *testing.T, interval time.Duration) (*timers, *list[*localCopy]) {
	t.Helper()
	begin, fired, running := time.Now(), &list[*localCopy]{}, &sync.WaitGroup{}
	ts := &timers{
		now:        func() int64 { return int64(time.Since(begin)) },
		interval:   interval,
		goroutines: running,
		wake:       make(chan struct{}, 1),
		quit:       make(chan struct{}),
	}
	ts.fire = func(c *localCopy) {
		if now := ts.now(); now != c.due {
			t.Errorf("due at %v and fired at %v", time.Duration(c.due), time.Duration(now))
		}
		fired.add(c)
	}
	t.Cleanup(func() {
		ts.close()
		running.Wait()
	})
	return ts, fired
}

func TestTimersFireInOrderAndOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, fired := startTimers(t, time.Minute)
		var all []*localCopy
		removed, number := map[*localCopy]bool{}, map[*localCopy]int{}
		for range 3000 {
			c := &localCopy{to: heard, due: int64(time.Duration(1+rand.IntN(600)) * time.Second)}
			require.True(t, ts.add(c.due, c))
			all = append(all, c)
		}
		for n := range 100 {
			c := &localCopy{to: heard, due: int64(time.Hour/2) + int64(n*10)} // nanoseconds apart
			require.True(t, ts.add(c.due, c))
			all = append(all, c)
		}
		for i, c := range all {
			number[c] = i
			if rand.IntN(3) == 0 {
				require.True(t, ts.remove(c))
				require.False(t, ts.remove(c), "twice")
				removed[c] = true
			}
		}
		pass(time.Hour)
		got := fired.get()
		require.Len(t, got, len(all)-len(removed))
		for i, b := range got {
			require.False(t, removed[b])
			if i == 0 {
				continue
			}
			a := got[i-1]
			require.True(t, a.due < b.due || a.due == b.due && number[a] < number[b], "not by due time and sequence")
		}
	})
}

func TestTimersWakeForAnEarlierEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, fired := startTimers(t, 24*time.Hour)
		for _, d := range []time.Duration{time.Hour, time.Minute, 2 * time.Hour, time.Second} {
			require.True(t, ts.add(int64(d), &localCopy{to: heard, due: int64(d)}))
			synctest.Wait() // it sleeps
		}
		pass(time.Second)
		synctest.Wait()
		require.Len(t, fired.get(), 1)
		pass(2 * time.Hour)
		require.Len(t, fired.get(), 4)
	})
}

func TestTimersGiveBackWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, ts := int64(0), &timers{goroutines: &sync.WaitGroup{}, quit: make(chan struct{}), running: true}
		ts.now = func() int64 { return now }
		for _, due := range []int64{5, 1, 4, 2, 3} {
			require.True(t, ts.add(due, &localCopy{to: heard, due: due}))
		}
		now = 2
		due, later := ts.close()
		require.Equal(t, []int64{1, 2}, []int64{due[0].due, due[1].due})
		require.Equal(t, []int64{3, 4, 5}, []int64{later[0].due, later[1].due, later[2].due})
		require.False(t, ts.add(0, &localCopy{to: heard}), "after close")
	})
}

// What was dispatched while the handlers were removed must not wait for its time,
// and keep its unit until then.
func TestTimersRefuseWhatNobodyHears(t *testing.T) {
	l := open(t)
	r := listen(t, l, func(context.Context, int) error { return nil })
	to := l.topic(integers.Name()).routes.Load().lanes[0].audience()
	require.NoError(t, l.Remove(t.Context(), r))
	require.False(t, l.timers.add(int64(time.Hour), &delayedEvent[int]{to: to}))
}

func TestHeapGivesMemoryBack(t *testing.T) {
	ts := &timers{running: true}
	all := make([]*localCopy, 100_000)
	for i := range all {
		all[i] = &localCopy{to: heard, due: int64(i)}
		require.True(t, ts.add(int64(i), all[i]))
	}
	for _, c := range all {
		ts.remove(c)
	}
	require.LessOrEqual(t, len(ts.heap.blocks), 1)
}

func TestInstantEventsTouchNoHeap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t)
		listen(t, l, func(ctx context.Context, n int) error {
			if d, _ := DeliveryFrom(ctx); n == 1 && d.Attempt == 1 {
				return io.EOF
			}
			return nil
		}, NoBackoff())
		dispatch(t, l, 1)
		dispatch(t, l, 2, ID("x"), High)
		dispatch(t, l, 3, Delay(0))
		dispatch(t, l, 4, At(time.Now().Add(-time.Hour)))
		synctest.Wait()
		require.EqualValues(t, 4, l.Stats().Handled)
		require.EqualValues(t, 1, l.Stats().Retried)
		require.Zero(t, l.timers.seq)
		require.False(t, l.timers.running)
	})
}

func TestDelayedEventsOfADayAreOnTimeAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events = 100_000
		l, begin, last := open(t, WithMaxQueued(events), WithTickerInterval(time.Hour)), time.Now(), time.Duration(-1)
		handled, early, late, topic := 0, 0, 0, NewTopic[time.Duration]("day")
		_, err := topic.Register(t.Context(), l, func(_ context.Context, due time.Duration) error {
			switch now := time.Since(begin); {
			case now < due:
				early++
			case now > due:
				late++
			}
			if due < last {
				t.Errorf("%v came after %v", due, last)
			}
			last = due
			handled++
			return nil
		}, Concurrency(1))
		require.NoError(t, err)
		for range events {
			due := time.Duration(rand.Int64N(int64(24 * time.Hour)))
			require.NoError(t, topic.Dispatch(t.Context(), l, due, Delay(due)))
		}
		require.ErrorIs(t, topic.Dispatch(t.Context(), l, 0, Delay(1)), ErrMaxQueuedEventsReached, "delayed ones count")
		pass(24 * time.Hour)
		require.Equal(t, []int{events, 0, 0}, []int{handled, early, late}, "handled, early, late")
		require.Zero(t, l.Stats().Queued)
	})
}

func TestInstantIsConvertedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ran := open(t), time.Time{}
		listen(t, l, func(context.Context, int) error { ran = time.Now(); return nil })
		at := time.Now().Add(90 * time.Minute).Round(0).UTC() // without a monotonic reading
		dispatch(t, l, 1, At(at))
		dispatch(t, l, 2, At(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), ID("far"))
		pass(2 * time.Hour)
		require.True(t, ran.Equal(at), "ran at %v, want %v", ran, at)
		require.Equal(t, 1, l.Stats().Queued)
		ok, err := l.Cancel(t.Context(), integers.Name(), "far")
		require.NoError(t, err)
		require.True(t, ok)
	})
}
