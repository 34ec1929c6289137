package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/middleware"
)

var topic = fanfare.NewTopic[string]("order.paid")

// handle dispatches one event through middleware and returns what the observer
// saw of its only attempt.
func handle(t *testing.T, h func(context.Context, string) error, opts ...fanfare.Option) fanfare.Observation {
	t.Helper()
	var seen fanfare.Observation
	d, err := fanfare.NewLocal(append(opts, fanfare.WithObserver(fanfare.Observer{
		Finished: func(o fanfare.Observation) { seen = o },
	}))...)
	require.NoError(t, err)
	_, err = topic.Register(t.Context(), d, h, fanfare.MaxAttempts(1))
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, "canary"))
	require.NoError(t, d.Stop(t.Context()))
	return seen
}

func TestRecover(t *testing.T) {
	var outside error
	see := func(next fanfare.HandleFunc) fanfare.HandleFunc {
		return func(ctx context.Context, event any) error {
			outside = next(ctx, event)
			return outside
		}
	}
	handle(t, func(context.Context, string) error { panic("ouch") }, fanfare.WithMiddleware(see, middleware.Recover()))
	var p *fanfare.PanicError
	require.ErrorAs(t, outside, &p)
	require.Equal(t, "ouch", p.Value)
	require.Contains(t, string(p.Stack), "middleware_test")
}

func TestTimeout(t *testing.T) {
	var cause error
	handle(t, func(ctx context.Context, _ string) error {
		<-ctx.Done()
		cause = context.Cause(ctx)
		return ctx.Err()
	}, fanfare.WithMiddleware(middleware.Timeout(10*time.Millisecond)))
	require.ErrorIs(t, cause, fanfare.ErrTimeout)
}

func TestLogsShowNoPayload(t *testing.T) {
	var logged bytes.Buffer
	l := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, err := range []error{nil, errors.New("no paper")} {
		handle(t, func(context.Context, string) error { return err },
			fanfare.WithMiddleware(middleware.Log(l)), fanfare.WithDispatchMiddleware(middleware.LogDispatch(l)))
	}
	for _, want := range []string{"event dispatched", "event handled", "event failed", "no paper", "topic=order.paid", "attempt=1"} {
		require.Contains(t, logged.String(), want)
	}
	require.NotContains(t, logged.String(), "canary")
}

func TestFailedDispatchIsLogged(t *testing.T) {
	var logged bytes.Buffer
	l := slog.New(slog.NewTextHandler(&logged, nil))
	d, err := fanfare.NewLocal(fanfare.WithDispatchMiddleware(middleware.LogDispatch(l)))
	require.NoError(t, err)
	require.ErrorIs(t, topic.Dispatch(t.Context(), d, "canary"), fanfare.ErrNoHandlerFound)
	require.Contains(t, logged.String(), "event not dispatched")
	require.NoError(t, d.Stop(t.Context()))
}

func ExampleLog() {
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "duration" || a.Key == "event_id" {
			return slog.Attr{}
		}
		return a
	}
	l := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: plain}))
	d, err := fanfare.NewLocal(fanfare.WithMiddleware(middleware.Log(l), middleware.Recover(), middleware.Timeout(time.Minute)))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_, err = topic.Register(ctx, d, func(context.Context, string) error { return errors.New("no paper") }, fanfare.MaxAttempts(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(topic.Dispatch(ctx, d, "an order"))
	fmt.Println(d.Stop(ctx))
	// Unordered output:
	// <nil>
	// level=WARN msg="event failed" topic=order.paid group=default attempt=1 error="no paper"
	// <nil>
}
