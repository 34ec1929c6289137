package fanfare

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrioritiesAreWeighted(t *testing.T) {
	for _, plain := range []bool{false, true} { // the normal ones
		q, number, to := laneQueue[int]{}, map[Priority]int{}, &audience{}
		put := func(p Priority) {
			number[p]++
			n := 1000*int(p-Low) + number[p]
			if plain && p == Normal {
				q.putPlain(n, 0, to)
				return
			}
			q.putCopy(&localCopy{content: &localContent{event: n, priority: p}, to: to})
		}
		for range 100 {
			put(Low)
			put(Normal)
			put(High)
		}
		taken := map[int]int{}
		for n := range 100 {
			it, one, audience := q.take()
			require.Same(t, to, audience)
			require.Nil(t, it.batch, "others wait")
			event := one.event
			if it.copy != nil {
				event = it.copy.content.event.(int)
			}
			p := event / 1000
			if n == 0 {
				require.Equal(t, 2, p, "a high one is first")
			}
			taken[p]++
			require.Equal(t, 1000*p+taken[p], event, "in order within one priority")
			if (n+1)%10 == 0 {
				require.Equal(t, []int{(n + 1) / 10, 3 * (n + 1) / 10, 6 * (n + 1) / 10}, []int{taken[0], taken[1], taken[2]})
			}
		}
	}
}

// A worker takes what is next of a queue while its batch is not; what is left of
// a batch is first again when it is recalled.
func TestQueueKeepsItsOrder(t *testing.T) {
	q, to, model, next := laneQueue[int]{}, &audience{}, []int(nil), 0
	var batch *laneBatch[int]
	take := func() (int, bool) {
		for {
			if batch != nil {
				if it := batch.claim(); it != nil {
					return it.event, true
				}
				q.pool.put(batch)
				batch = nil
			}
			it, one, audience := q.take()
			switch {
			case audience == nil:
				return 0, false
			case it.batch != nil:
				batch = it.batch
			case it.copy != nil:
				return it.copy.content.event.(int), true
			default:
				return one.event, true
			}
		}
	}
	for range 100_000 {
		switch n := rand.IntN(100); {
		case n < 45:
			next++
			q.putPlain(next, int64(next), to)
			model = append(model, next)
		case n < 50:
			next++
			q.putCopy(&localCopy{content: &localContent{event: next}, to: to})
			model = append(model, next)
		case n < 52:
			if batch != nil {
				q.putBack(batch.recall(), batch.to)
			}
		case n < 53:
			to = &audience{} // a handler came, or was removed
		default:
			got, ok := take()
			require.Equal(t, len(model) > 0, ok)
			if ok {
				require.Equal(t, model[0], got)
				model = model[1:]
			}
		}
		left := batch.left()
		require.Equal(t, len(model), q.n+left)
	}
}

func TestQueueForgetsWhatWasWithdrawn(t *testing.T) {
	q, kept := laneQueue[int]{}, 0
	for n := range 100_000 {
		c := &localCopy{content: &localContent{event: n, priority: Priority(n%3 - 1)}, to: &audience{}}
		q.putCopy(c)
		if n%1000 == 0 {
			kept++
			continue
		}
		require.True(t, c.withdraw())
		q.withdrawn()
		require.LessOrEqual(t, q.n, 2*kept+200, "what is withdrawn piles up")
	}
	for range kept {
		it, _, _ := q.take()
		require.NotNil(t, it.copy)
		require.Zero(t, it.copy.content.event.(int)%1000)
	}
	_, _, to := q.take()
	require.Nil(t, to)
}

func TestBatchesAreKeptForTheNextFlood(t *testing.T) {
	q, to := laneQueue[int]{}, &audience{}
	flood := func(n int) {
		for range n {
			q.putPlain(1, 0, to)
		}
		for q.n > 0 {
			it, _, _ := q.take()
			require.NotEmpty(t, it.batch.recall())
			q.pool.put(it.batch)
		}
	}
	flood(100 * batchEvents)
	spare := len(q.pool.spare)
	require.GreaterOrEqual(t, spare, 100)
	flood(100 * batchEvents)
	require.Len(t, q.pool.spare, spare, "they serve again")
	for range 2 * longUnused {
		flood(1)
	}
	require.LessOrEqual(t, len(q.pool.spare), 2, "but not for ever")
}

func TestRingIsAQueueThatGrowsAndShrinks(t *testing.T) {
	var r ring[*int]
	var model []*int
	for n := range 20_000 {
		grow := n < 5000 || n >= 10_000 && n < 12_000
		switch v := &n; {
		case len(model) > 0 && rand.IntN(10) < 7 != grow:
			require.Same(t, model[0], r.first())
			require.Same(t, model[0], r.take())
			model = model[1:]
		case n%10 == 0:
			r.putBack(v)
			model = slices.Insert(model, 0, v)
		default:
			r.put(v)
			model = append(model, v)
		}
		require.Equal(t, len(model), r.n)
		require.LessOrEqual(t, len(r.slots), max(leastRing, 8*len(model)+8), "with %d", len(model))
	}
	for range model {
		r.take()
	}
	require.LessOrEqual(t, len(r.slots), leastRing)
	for _, slot := range r.slots {
		require.Nil(t, slot, "what was taken is kept alive")
	}
}
