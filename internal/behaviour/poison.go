package behaviour

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// RunPoison runs the test of an event that ends every process which handles it.
// It takes half a minute, in which the leases of those processes run out.
func RunPoison(t *testing.T, openers ...Opener) {
	for _, o := range openers {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			testPoison(t, o.start(t))
		})
	}
}

// The event is given up after a bounded number of processes, and those that were
// handled beside it are not given up with it.
func testPoison(t *testing.T, o opener) {
	const neighbours, processes = 8, 11
	require.NotEmpty(t, o.Env, "a backend that processes share has an Env")
	topic, d := fanfare.NewTopic[string](t.Name()), o.openDurable(t)
	require.NoError(t, d.Queue(topic.Name(), "").Create(t.Context()))
	require.NoError(t, topic.Dispatch(t.Context(), d, "poison", fanfare.ID("poison")))
	for n := range neighbours {
		require.NoError(t, topic.Dispatch(t.Context(), d, fmt.Sprint("neighbour ", n)))
	}
	done, late := map[string]bool{}, time.After(2*time.Minute)
	for started := 0; ; started++ {
		require.Less(t, started, processes, "processes that the event ends")
		c := startChild(t, o.Env, topic.Name())
		for alive := true; alive; {
			select {
			case line, ok := <-c.lines:
				if what, is := strings.CutPrefix(line, "done "); is {
					done[what] = true
				}
				alive = ok
			case <-time.After(100 * time.Millisecond):
				letters, err := d.Queue(topic.Name(), "").Dead(t.Context(), 0, 10)
				require.NoError(t, err)
				if len(letters) == 0 {
					continue
				}
				require.Len(t, letters, 1)
				require.Equal(t, "poison", letters[0].ID)
				require.Equal(t, fanfare.ReasonPoison, letters[0].Reason)
				require.Len(t, done, neighbours)
				return
			case <-late:
				t.Fatalf("no dead letter after %d processes and 2 minutes, done %v", started+1, done)
			}
		}
	}
}
