package behaviour

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// keyed can cancel.
type keyed interface {
	fanfare.Dispatcher
	Cancel(ctx context.Context, topic, id string) (bool, error)
	Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error)
}

func testIDIsUniqueWhileItLives(t *testing.T, o opener) {
	d := o.open(t)
	topic, got, release := fanfare.NewTopic[int](t.Name()), NewReceived[int](), make(chan struct{})
	_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
		got.Add(n)
		<-release
		return nil
	})
	require.NoError(t, err)

	var accepted atomic.Int64
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			err := topic.Dispatch(t.Context(), d, n, fanfare.ID("one"), fanfare.Delay(100*time.Millisecond))
			if err == nil {
				accepted.Add(1)
			} else if !errors.Is(err, fanfare.ErrDuplicate) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, accepted.Load())
	got.Wait(t, 1)
	require.ErrorIs(t, topic.Dispatch(t.Context(), d, 0, fanfare.ID("one")), fanfare.ErrDuplicate, "while it runs")
	close(release)
	Eventually(t, func() bool { return stats(d).Handled == 1 }, "handled")
	require.ErrorIs(t, topic.Dispatch(t.Context(), d, 0, fanfare.ID("one")), fanfare.ErrDuplicate, "within the window")
	require.NoError(t, topic.Dispatch(t.Context(), d, 0, fanfare.ID("two")))
	other := fanfare.NewTopic[int](t.Name() + "other")
	_, err = other.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	require.NoError(t, other.Dispatch(t.Context(), d, 0, fanfare.ID("one")), "ids belong to a topic")
	require.Len(t, got.Wait(t, 2), 2)
}

func testCancelIsTruthful(t *testing.T, o opener) {
	d := o.open(t).(keyed)
	topic, got, release := fanfare.NewTopic[string](t.Name()), NewReceived[string](), make(chan struct{})
	_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error {
		got.Add(v)
		if v == "running" {
			<-release
		}
		return nil
	})
	require.NoError(t, err)
	cancel := func(id string) bool {
		ok, err := d.Cancel(t.Context(), topic.Name(), id)
		require.NoError(t, err)
		return ok
	}
	require.NoError(t, topic.Dispatch(t.Context(), d, "waiting", fanfare.ID("a"), fanfare.Delay(time.Second)))
	require.NoError(t, topic.Dispatch(t.Context(), d, "running", fanfare.ID("b")))
	got.Wait(t, 1)
	require.True(t, cancel("a"))
	require.False(t, cancel("a"), "twice")
	require.False(t, cancel("b"), "while it runs")
	require.False(t, cancel("c"), "unknown")
	require.NoError(t, topic.Dispatch(t.Context(), d, "again", fanfare.ID("a"), fanfare.Delay(time.Second)), "a canceled id is free")
	close(release)
	got.Wait(t, 2)
	Eventually(t, func() bool { return stats(d).Handled == 2 }, "handled")
	require.False(t, cancel("b"), "done")
	require.Equal(t, []string{"running", "again"}, got.All())
	require.EqualValues(t, 1, stats(d).Cancelled)
}

func testReschedule(t *testing.T, o opener) {
	d := o.open(t).(keyed)
	topic, got := fanfare.NewTopic[int](t.Name()), NewReceived[time.Time]()
	_, err := topic.Register(t.Context(), d, func(context.Context, int) error { got.Add(time.Now()); return nil })
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1, fanfare.ID("sooner"), fanfare.Delay(time.Hour)))
	at := time.Now().Add(100 * time.Millisecond)
	ok, err := d.Reschedule(t.Context(), topic.Name(), "sooner", at)
	require.NoError(t, err)
	require.True(t, ok)
	require.False(t, got.Wait(t, 1)[0].Before(at))
	ok, err = d.Reschedule(t.Context(), topic.Name(), "sooner", at)
	require.NoError(t, err)
	require.False(t, ok, "done")
}

func testConflicts(t *testing.T, o opener) {
	d := o.open(t)
	type run struct {
		value string
		after time.Duration
	}
	topic, got, begin, release := fanfare.NewTopic[string](t.Name()), NewReceived[run](), time.Now(), make(chan struct{})
	_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error {
		got.Add(run{v, time.Since(begin)})
		if v == "running" {
			<-release
		}
		return nil
	})
	require.NoError(t, err)
	dispatch := func(v, id string, c fanfare.Conflict, wait time.Duration) error {
		return topic.Dispatch(t.Context(), d, v, fanfare.ID(id), c, fanfare.Delay(wait))
	}
	values := func() (all []string) {
		for _, r := range got.All() {
			all = append(all, r.value)
		}
		return all
	}

	require.NoError(t, dispatch("old", "r", fanfare.KeepFirst, 50*time.Millisecond))
	require.NoError(t, dispatch("new", "r", fanfare.Replace, 200*time.Millisecond))
	require.NoError(t, dispatch("first", "p", fanfare.PushBack, 50*time.Millisecond)) // unknown: as usual
	require.NoError(t, dispatch("not kept", "p", fanfare.PushBack, 300*time.Millisecond))
	require.ErrorIs(t, dispatch("not kept", "p", fanfare.RunAgain, 0), fanfare.ErrDuplicate, "it waits")
	all := got.Wait(t, 2)
	require.Equal(t, "new", all[0].value)
	require.GreaterOrEqual(t, all[0].after, 200*time.Millisecond)
	require.Equal(t, "first", all[1].value)
	require.GreaterOrEqual(t, all[1].after, 300*time.Millisecond)

	require.NoError(t, dispatch("running", "a", fanfare.RunAgain, 0))
	got.Wait(t, 3)
	require.ErrorIs(t, dispatch("refused", "a", fanfare.Replace, 0), fanfare.ErrDuplicate, "it runs")
	require.ErrorIs(t, dispatch("refused", "a", fanfare.PushBack, 0), fanfare.ErrDuplicate, "it runs")
	require.NoError(t, dispatch("again", "a", fanfare.RunAgain, 0))
	require.ErrorIs(t, dispatch("refused", "a", fanfare.RunAgain, 0), fanfare.ErrDuplicate, "one is kept")
	close(release)
	got.Wait(t, 4)
	Eventually(t, func() bool { return stats(d).Handled == 4 }, "handled")
	require.ErrorIs(t, dispatch("refused", "a", fanfare.KeepFirst, 0), fanfare.ErrDuplicate, "in its window")
	for i, c := range []fanfare.Conflict{fanfare.Replace, fanfare.PushBack, fanfare.RunAgain} {
		require.NoError(t, dispatch(fmt.Sprint("anew", i), "a", c, 0), "it has ended")
		got.Wait(t, 5+i)
		Eventually(t, func() bool { return stats(d).Handled == uint64(5+i) }, "handled")
	}
	require.Equal(t, []string{"new", "first", "running", "again", "anew0", "anew1", "anew2"}, values())
}
