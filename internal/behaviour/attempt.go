package behaviour

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func testFailureIsTriedAgainWithBackoff(t *testing.T, o opener) {
	d := o.open(t)
	topic := fanfare.NewTopic[int](t.Name())
	attempts, times := NewReceived[fanfare.Delivery](), NewReceived[time.Time]()
	_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
		times.Add(time.Now())
		info, _ := fanfare.DeliveryFrom(ctx)
		if attempts.Add(info) < 3 {
			return errors.New("not yet")
		}
		return nil
	}, fanfare.Fixed(60*time.Millisecond), fanfare.MaxAttempts(5))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1, fanfare.Header("k", "v"), fanfare.High))
	all, at := attempts.Wait(t, 3), times.Wait(t, 3)
	for i, info := range all {
		require.Equal(t, i+1, info.Attempt)
		require.Equal(t, i, info.Failures)
		require.Equal(t, 5, info.MaxAttempts)
		require.Equal(t, fanfare.High, info.Priority)
		require.Equal(t, all[0].ID, info.ID)
		require.NotEmpty(t, info.ID)
		require.Equal(t, t.Name(), info.Topic)
		require.Equal(t, "default", info.Group)
		require.Equal(t, map[string]string{"k": "v"}, info.Headers)
		require.WithinDuration(t, at[0], info.DispatchedAt, 5*time.Second)
		if i > 0 {
			require.GreaterOrEqual(t, at[i].Sub(at[i-1]), 60*time.Millisecond)
			require.Greater(t, info.Fence, all[i-1].Fence)
		}
	}
	Eventually(t, func() bool { s := stats(d); return s.Handled == 1 && s.Retried == 2 && s.Dead == 0 }, "stats")
}

func testHandlerChoosesTheRetryTime(t *testing.T, o opener) {
	d := o.open(t)
	topic, times := fanfare.NewTopic[int](t.Name()), NewReceived[time.Time]()
	_, err := topic.Register(t.Context(), d, func(context.Context, int) error {
		switch times.Add(time.Now()) {
		case 1:
			return fanfare.RetryIn(80*time.Millisecond, errors.New("later"))
		case 2:
			return fmt.Errorf("wrapped: %w", fanfare.RetryAt(time.Now().Add(80*time.Millisecond), nil))
		}
		return nil
	}, fanfare.Fixed(time.Hour))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	at := times.Wait(t, 3)
	require.GreaterOrEqual(t, at[1].Sub(at[0]), 80*time.Millisecond)
	require.GreaterOrEqual(t, at[2].Sub(at[1]), 80*time.Millisecond)
}

func testGivenUpEvents(t *testing.T, o opener) {
	for name, tt := range map[string]struct {
		fail   func() error
		runs   int
		reason string
	}{
		"exhausted": {func() error { return errors.New("broken pipe") }, 3, fanfare.ReasonExhausted},
		"discarded": {func() error { return fanfare.Discard(errors.New("broken pipe")) }, 1, fanfare.ReasonDiscarded},
		"panic":     {func() error { panic(errors.New("broken pipe")) }, 3, fanfare.ReasonExhausted},
		"goexit":    {func() error { runtime.Goexit(); return nil }, 3, fanfare.ReasonExhausted},
	} {
		dead := NewReceived[fanfare.Observation]()
		d := o.open(t, fanfare.WithObserver(fanfare.Observer{Dead: func(v fanfare.Observation) { dead.Add(v) }}))
		topic, runs := fanfare.NewTopic[int](t.Name()+name), atomic.Int64{}
		_, err := topic.Register(t.Context(), d, func(context.Context, int) error { runs.Add(1); return tt.fail() },
			fanfare.NoBackoff(), fanfare.MaxAttempts(3))
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1, fanfare.ID("x")))
		got := dead.Wait(t, 1)[0]
		require.Equal(t, tt.reason, got.Reason, name)
		require.Equal(t, "x", got.ID)
		require.EqualValues(t, tt.runs, runs.Load(), name)
		require.Equal(t, tt.runs, got.Attempt, name)
		if name != "goexit" {
			require.ErrorContains(t, got.Err, "broken pipe")
		} else {
			var p *fanfare.PanicError
			require.ErrorAs(t, got.Err, &p)
		}
		if o.durable {
			letters, err := d.(*fanfare.Durable).Queue(topic.Name(), "").Dead(t.Context(), 0, 10)
			require.NoError(t, err)
			require.Len(t, letters, 1)
			require.Equal(t, "x", letters[0].ID)
			require.Equal(t, tt.reason, letters[0].Reason)
			require.Equal(t, got.Err.Error(), letters[0].LastError)
		}
	}
}

func testEventsOwnLimitCountsMore(t *testing.T, o opener) {
	d := o.open(t)
	topic, runs := fanfare.NewTopic[string](t.Name()), NewReceived[string]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, v string) error { runs.Add(v); return errors.New("no") },
		fanfare.NoBackoff(), fanfare.MaxAttempts(2))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, "once", fanfare.MaxAttempts(1)))
	require.NoError(t, topic.Dispatch(t.Context(), d, "thrice", fanfare.MaxAttempts(3)))
	require.NoError(t, topic.Dispatch(t.Context(), d, "twice"))
	Eventually(t, func() bool { return stats(d).Dead == 3 }, "all given up")
	count := map[string]int{}
	for _, v := range runs.All() {
		count[v]++
	}
	require.Equal(t, map[string]int{"once": 1, "twice": 2, "thrice": 3}, count)
}

func testPanicsAndGoexitsCostNoSlot(t *testing.T, o opener) {
	d := o.open(t)
	topic, ok := fanfare.NewTopic[int](t.Name()), NewReceived[int]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, n int) error {
		switch {
		case n < 4:
			panic(n)
		case n < 8:
			runtime.Goexit()
		}
		ok.Add(n)
		return nil
	}, fanfare.Concurrency(2), fanfare.MaxAttempts(1))
	require.NoError(t, err)
	for n := range 20 {
		require.NoError(t, topic.Dispatch(t.Context(), d, n))
	}
	require.Len(t, ok.Wait(t, 12), 12)
	Eventually(t, func() bool { s := stats(d); return s.Dead == 8 && s.Running == 0 }, "failures counted")
}

// nilError panics when a nil pointer of it is asked for anything.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func (e *nilError) Unwrap() error { return errors.New(e.text) }

func testErrorsThatPanicAreErrors(t *testing.T, o opener) {
	var none *nilError
	for name, handle := range map[string]func() error{
		"returned": func() error { return none },
		"panicked": func() error { panic(none) },
		"wrapped":  func() error { return fanfare.RetryIn(0, none) },
	} {
		t.Run(name, func(t *testing.T) {
			dead := NewReceived[error]()
			d := o.open(t, fanfare.WithObserver(fanfare.Observer{Dead: func(v fanfare.Observation) { dead.Add(v.Err) }}))
			topic := fanfare.NewTopic[int](t.Name())
			_, err := topic.Register(t.Context(), d, func(context.Context, int) error { return handle() }, fanfare.MaxAttempts(1))
			require.NoError(t, err)
			require.NoError(t, topic.Dispatch(t.Context(), d, 1))
			var p *fanfare.PanicError
			require.ErrorAs(t, dead.Wait(t, 1)[0], &p)
		})
	}
}

func testHandlerTimeout(t *testing.T, o opener) {
	d := o.open(t)
	topic, causes := fanfare.NewTopic[int](t.Name()), NewReceived[error]()
	_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ int) error {
		if _, ok := ctx.Deadline(); !ok {
			return errors.New("no deadline")
		}
		<-ctx.Done()
		causes.Add(context.Cause(ctx))
		return ctx.Err()
	}, fanfare.Timeout(50*time.Millisecond), fanfare.MaxAttempts(2), fanfare.NoBackoff())
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, 1))
	for _, cause := range causes.Wait(t, 2) {
		require.ErrorIs(t, cause, fanfare.ErrTimeout)
	}
	Eventually(t, func() bool { return stats(d).Dead == 1 }, "given up")
}
