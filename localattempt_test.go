package fanfare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// noting returns a logger that keeps its lines.
func noting(lines *list[string]) *slog.Logger {
	return slog.New(slog.NewTextHandler(writerFunc(func(b []byte) { lines.add(string(b)) }), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func TestEachHandlerHasItsOwnRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, begin, runs := open(t), time.Now(), list[string]{}
		handler := func(name string, failures int) func(context.Context, int) error {
			return func(ctx context.Context, n int) error {
				d, _ := DeliveryFrom(ctx)
				runs.add(fmt.Sprint(name, " ", n, " ", d.Attempt, " ", time.Since(begin)))
				if d.Attempt <= failures {
					return io.EOF
				}
				return nil
			}
		}
		listen(t, l, handler("good", 0))
		listen(t, l, handler("bad", 2), Fixed(time.Minute))
		listen(t, l, handler("worse", 3), Fixed(time.Second), Concurrency(1), MaxAttempts(3))
		dispatch(t, l, 7)
		synctest.Wait()
		require.Equal(t, 1, l.Stats().Queued)
		pass(time.Hour)
		require.ElementsMatch(t, []string{
			"good 7 1 0s",
			"bad 7 1 0s", "bad 7 2 1m0s", "bad 7 3 2m0s",
			"worse 7 1 0s", "worse 7 2 1s", "worse 7 3 2s",
		}, runs.get())
		require.Equal(t, Stats{Dispatched: 1, Started: 7, Handled: 2, Retried: 4, Dead: 1}, l.Stats())
	})
}

func TestHandlerChoosesWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, dropped, runs := time.Now(), list[Dropped]{}, list[time.Duration]{}
		l := open(t, WithOnDrop(func(d Dropped) { dropped.add(d) }), WithBackoff(Fixed(24*time.Hour)))
		reason := errors.New("no such customer")
		listen(t, l, func(ctx context.Context, n int) error {
			switch runs.add(time.Since(begin)) {
			case 1:
				return RetryIn(time.Minute, nil)
			case 2:
				return fmt.Errorf("wrapped: %w", RetryAt(begin.Add(time.Hour).Round(0), nil))
			case 3:
				return RetryAt(begin, nil) // has passed
			}
			return Discard(reason)
		}, MaxAttempts(Unlimited), Group("billing"))
		dispatch(t, l, 7, Header("k", "v"))
		pass(2 * time.Hour)
		require.Equal(t, []time.Duration{0, time.Minute, time.Hour, time.Hour}, runs.get())
		require.Len(t, dropped.get(), 1)
		d := dropped.get()[0]
		require.ErrorIs(t, d.Err, reason)
		require.True(t, d.DueAt.Equal(begin.Add(time.Hour)))
		require.NotEmpty(t, d.ID)
		d.Err, d.DueAt, d.ID = nil, time.Time{}, ""
		require.Equal(t, Dropped{Topic: "integers", Group: "billing", Event: 7, Reason: ReasonDiscarded}, d)
	})
}

func TestTimeoutEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, begin, seen := open(t, WithTaskMaxDuration(time.Hour)), time.Now(), list[string]{}
		handle := func(ctx context.Context, _ int) error {
			deadline, _ := ctx.Deadline()
			<-ctx.Done()
			seen.add(fmt.Sprint(time.Since(begin), deadline.Sub(begin), ctx.Err(), context.Cause(ctx)))
			return nil // done all the same
		}
		listen(t, l, handle, Timeout(time.Second))
		listen(t, l, handle, Concurrency(1))
		listen(t, l, func(ctx context.Context, n int) error { return handle(ctx, n) }, Synchronous(), Timeout(time.Millisecond))
		dispatch(t, l, 1)
		pass(2 * time.Hour)
		require.Equal(t, []string{
			"1ms 1ms context deadline exceeded handler timed out",
			"1.001s 1.001s context deadline exceeded handler timed out",
			"1h0m0.001s 1h0m0.001s context deadline exceeded handler timed out",
		}, seen.get())
		require.EqualValues(t, 3, l.Stats().Handled)
	})
}

func TestLogsShowNoEvent(t *testing.T) {
	lines, dead := list[string]{}, make(chan Dropped)
	l := open(t, WithLogger(noting(&lines)), WithBackoff(NoBackoff()), WithOnDrop(func(d Dropped) { dead <- d }))
	topic := NewTopic[string]("secrets")
	_, err := topic.Register(t.Context(), l, func(context.Context, string) error { return io.EOF }, MaxAttempts(2))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), l, "s3cret", ID("x"), Header("password", "s3cret")))
	require.NoError(t, topic.Dispatch(t.Context(), l, "s3cret"))
	<-dead
	<-dead
	require.NoError(t, l.Stop(t.Context()))
	all := strings.Join(lines.get(), "")
	require.NotContains(t, all, "s3cret")
	require.Contains(t, all, `level=DEBUG msg="event is tried again" topic=secrets id=x attempt=1 wait=0s error=EOF`)
	require.Contains(t, all, `level=ERROR msg="event is given up" topic=secrets id=x attempt=2 reason=exhausted error=EOF`)
	require.Len(t, lines.get(), 4)
}

func TestObserverSeesTheLifeOfALocalEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := list[string]{}
		note := func(what string) func(Observation) {
			return func(o Observation) {
				seen.add(fmt.Sprint(what, " ", o.Topic, " ", o.Group, " ", o.ID, " ", o.Attempt, " ", o.Lateness, " ", o.Duration, " ", o.Wait, " ", o.Reason, " ", o.Err))
			}
		}
		l := open(t, WithParallelThreshold(1), WithObserver(Observer{
			Dispatched: note("dispatched"), Started: note("started"), Finished: note("finished"),
			Retried: note("retried"), Dead: note("dead"), Cancelled: note("cancelled"),
		}))
		listen(t, l, func(context.Context, int) error { <-time.After(time.Second); return io.EOF }, Group("g"), MaxAttempts(2), Fixed(time.Minute))
		dispatch(t, l, 1, ID("a"))
		dispatch(t, l, 2, ID("b"), Delay(500*time.Millisecond), MaxAttempts(1))
		dispatch(t, l, 3, ID("c"), Delay(time.Hour))
		ok, err := l.Cancel(t.Context(), "integers", "c")
		require.NoError(t, err)
		require.True(t, ok)
		pass(time.Hour)
		require.Equal(t, []string{
			"dispatched integers  a 0 0s 0s 0s  <nil>",
			"dispatched integers  b 0 0s 0s 0s  <nil>",
			"dispatched integers  c 0 0s 0s 0s  <nil>",
			"cancelled integers  c 0 0s 0s 0s  <nil>",
			"started integers g a 1 0s 0s 0s  <nil>",
			"finished integers g a 1 0s 1s 0s  EOF",
			"retried integers g a 1 0s 0s 1m0s  EOF",
			"started integers g b 1 500ms 0s 0s  <nil>",
			"finished integers g b 1 0s 1s 0s  EOF",
			"dead integers g b 1 0s 0s 0s exhausted EOF",
			"started integers g a 2 0s 0s 0s  <nil>",
			"finished integers g a 2 0s 1s 0s  EOF",
			"dead integers g a 2 0s 0s 0s exhausted EOF",
		}, reorder(seen.get()))
	})
}

// reorder puts what happens inside Dispatch before what happens in other
// goroutines at the same time.
func reorder(lines []string) (all []string) {
	for _, inside := range []bool{true, false} {
		for _, line := range lines {
			if (strings.HasPrefix(line, "dispatched") || strings.HasPrefix(line, "cancelled")) == inside {
				all = append(all, line)
			}
		}
	}
	return all
}

func TestObserverIsToldTheIDOfEveryEvent(t *testing.T) {
	ids := list[string]{}
	l := open(t, WithObserver(Observer{
		Dispatched: func(o Observation) { ids.add(o.ID) },
		Started:    func(o Observation) { ids.add(o.ID) },
		Finished:   func(o Observation) { ids.add(o.ID) },
	}))
	listen(t, l, func(ctx context.Context, _ int) error {
		d, _ := DeliveryFrom(ctx)
		ids.add(d.ID)
		return nil
	})
	dispatch(t, l, 1)
	require.NoError(t, l.Stop(t.Context()))
	all := ids.get()
	require.Len(t, all, 4)
	for _, id := range all {
		require.NotEmpty(t, id)
		require.Equal(t, all[0], id)
	}
}
