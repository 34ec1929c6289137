package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// nilError panics when a nil pointer of it is asked for anything.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }
func (e *nilError) Unwrap() error { return errors.New(e.text) }

func TestErrorsThatPanicAreErrors(t *testing.T) {
	var none *nilError
	for name, handle := range map[string]func() error{
		"returned": func() error { return none },
		"panicked": func() error { panic(none) },
		"wrapped":  func() error { return fanfare.RetryIn(0, none) },
	} {
		t.Run(name, func(t *testing.T) {
			behaves(t, func(t *testing.T, o opener) {
				dead := newReceived[error]()
				d := o.open(t, fanfare.WithObserver(fanfare.Observer{Dead: func(v fanfare.Observation) { dead.add(v.Err) }}))
				topic := fanfare.NewTopic[int](t.Name())
				_, err := topic.Register(t.Context(), d, func(context.Context, int) error { return handle() }, fanfare.MaxAttempts(1))
				require.NoError(t, err)
				require.NoError(t, topic.Dispatch(t.Context(), d, 1))
				var p *fanfare.PanicError
				require.ErrorAs(t, dead.wait(t, 1)[0], &p)
			})
		})
	}
}

func TestStopWaitsForHandlersOfRemoved(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic, started, ended := fanfare.NewTopic[int](t.Name()), make(chan struct{}), atomic.Bool{}
		r, err := topic.Register(t.Context(), d, func(context.Context, int) error {
			close(started)
			<-time.After(200 * time.Millisecond)
			ended.Store(true)
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, 1))
		<-started
		ctx, cancel := contextFor(10 * time.Millisecond)
		defer cancel()
		require.ErrorIs(t, d.Remove(ctx, r), context.DeadlineExceeded)
		require.NoError(t, d.Stop(t.Context()))
		require.True(t, ended.Load())
		require.EqualValues(t, 1, o.stats(d).Handled)
	})
}

func TestStopReturnsThoughRedisHangs(t *testing.T) {
	t.Parallel()
	s := testsvc.StartRedis(t)
	d := onRedis(t, s)
	_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	s.Pause()
	registered := make(chan error, 1)
	go func() {
		_, err := number.Register(context.Background(), d, func(context.Context, int) error { return nil }, fanfare.Group("late"))
		registered <- err
	}()
	<-time.After(2500 * time.Millisecond) // a claim is under way by now
	ctx, cancel := contextFor(200 * time.Millisecond)
	defer cancel()
	begin := time.Now()
	_ = d.Stop(ctx)
	require.Less(t, time.Since(begin), time.Second)
	require.Error(t, <-registered)
	s.Resume()
}

func TestLogsOfUndecodableEventsShowNoPayload(t *testing.T) {
	type pay struct {
		Card int8
		At   time.Time
	}
	durably(t, func(t *testing.T, d *fanfare.Durable, o opener) {
		log := &logs{}
		logged := o.again(t, d, log.option())
		topic := fanfare.NewTopic[pay](t.Name())
		_, err := topic.Register(t.Context(), logged, func(context.Context, pay) error { return nil })
		require.NoError(t, err)
		for _, v := range []any{map[string]int64{"Card": 4111111111111111}, map[string]string{"At": "canary"}, "canary"} {
			require.NoError(t, d.Dispatch(t.Context(), topic.Name(), v))
		}
		eventually(t, func() bool { return logged.Stats().Dead == 3 }, "all dead")
		letters, err := d.Queue(topic.Name(), "").Dead(t.Context(), 0, 10)
		require.NoError(t, err)
		for _, l := range letters {
			require.Equal(t, fanfare.ReasonUndecodable, l.Reason)
			require.NotContains(t, l.LastError, "canary")
			require.NotContains(t, l.LastError, "4111")
		}
		require.Equal(t, 3, log.count("event is dead"))
		require.Zero(t, log.count("canary")+log.count("4111"))
	})
}

func TestErrorOfASynchronousHandlerIsItsOwn(t *testing.T) {
	d := openLocal(t)
	_, err := number.Register(t.Context(), d, func(context.Context, int) error {
		return fmt.Errorf("insert: %w", fanfare.ErrDuplicate)
	}, fanfare.Synchronous())
	require.NoError(t, err)
	var failed *fanfare.FanoutError
	require.ErrorAs(t, fanfare.Dispatch(t.Context(), number.Name(), 1, d), &failed)
	require.Equal(t, fanfare.Rejected, failed.Outcomes[0].Status)
	require.ErrorIs(t, failed, fanfare.ErrDuplicate)
	require.EqualValues(t, 1, d.(*fanfare.Local).Stats().Rejected)
}

func TestRemovedHandlersDelayedEventsAreGone(t *testing.T) {
	d := openLocal(t, fanfare.WithMaxQueued(10)).(*fanfare.Local)
	r, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	for n := range 10 {
		require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.Delay(time.Hour), fanfare.ID(fmt.Sprint(n))))
	}
	require.NoError(t, d.Remove(t.Context(), r))
	require.Zero(t, d.Stats().Queued)
	_, err = number.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("1"), fanfare.Delay(time.Hour)))
}

// countedDelay counts how often it is asked.
type countedDelay struct{ asked *atomic.Int64 }

func (c countedDelay) Delayed() time.Duration { c.asked.Add(1); return time.Hour }

func TestFanoutAsksForTheDelayOnce(t *testing.T) {
	asked := &atomic.Int64{}
	require.NoError(t, fanfare.Dispatch(t.Context(), "t", countedDelay{asked}, newDurable(), newDurable()))
	require.EqualValues(t, 1, asked.Load())
}

func TestAnyIsDecodedToo(t *testing.T) {
	durably(t, func(t *testing.T, d *fanfare.Durable, _ opener) {
		topic, got := fanfare.NewTopic[any](t.Name()), newReceived[any]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v any) error { got.add(v); return nil })
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, map[string]string{"a": "b"}))
		require.Equal(t, map[string]any{"a": "b"}, got.wait(t, 1)[0])
	})
}

func TestARefusedQueueHidesNoOutage(t *testing.T) {
	t.Parallel()
	s, log := testsvc.StartRedis(t), &logs{}
	tell(t, s, "SET", "fanfare:{broken}:default:l", "not ours")
	d := onRedis(t, s, log.option())
	for _, topic := range []string{"broken", "sound"} {
		_, err := fanfare.NewTopic[int](topic).Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.NoError(t, err)
	}
	eventually(t, func() bool { return log.count("backend refuses") == 1 }, "refusal")
	s.Kill()
	eventually(t, func() bool { return log.count("does not work") == 1 }, "outage")
	s.Restart() // without what it held
	eventually(t, func() bool { return log.count("works again") == 1 }, "recovery")
}
