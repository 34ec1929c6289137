package sqltest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

const (
	canaryPassword = "hunter2-canary"
	canaryPayload  = "payload-canary"
)

// withPassword returns source with a user that there is not, and its password.
func (e engine) withPassword(t *testing.T, source string) string {
	t.Helper()
	switch e.name {
	case "mariadb":
		_, rest, found := strings.Cut(source, "@")
		require.True(t, found)
		return "nobody:" + canaryPassword + "@" + rest
	case "postgres":
		u, err := url.Parse(source)
		require.NoError(t, err)
		u.User = url.UserPassword("nobody", canaryPassword)
		return u.String()
	}
	return source
}

// Neither the password of a database nor a payload shows in what fails.
func TestCanariesStayHidden(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel()
		source := e.source(t)
		var mu sync.Mutex
		var seen bytes.Buffer
		show := func(v any) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(&seen, "%v %+v %#v\n", v, v, v)
		}
		log := &behaviour.Logs{}
		logger := fanfare.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		tour := func(d *fanfare.Durable) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := text.Register(ctx, d, func(context.Context, string) error { panic("no") }, fanfare.MaxAttempts(1))
			show(err)
			for range 2 { // the second is a duplicate
				show(text.Dispatch(ctx, d, canaryPayload, fanfare.ID("x"), fanfare.Delay(time.Hour)))
			}
			show(text.Dispatch(ctx, d, canaryPayload))
			show(d.Dispatch(ctx, "large", strings.Repeat(canaryPayload, 1<<18)))
			show(d.DispatchBatch(ctx, text.Name(), []any{canaryPayload, nil}))
			show(d.Health(ctx))
			_, err = d.Purge(ctx, "none")
			show(err)
		}
		refused, err := sqlqueue.New(e.open(t, e.withPassword(t, source)), e.dialect, sqlqueue.WithPrefix(newPrefix()))
		require.NoError(t, err)
		show(refused) // before it is used: it is no value to print
		t.Cleanup(func() { refused.Close() })
		missing, err := fanfare.New(refused, logger) // and no tables either
		require.NoError(t, err)
		behaviour.StopWith(t, missing)
		tour(missing)

		d, err := fanfare.New(e.broker(t, e.open(t, source), sqlqueue.WithPrefix(newPrefix())), logger)
		require.NoError(t, err)
		behaviour.StopWith(t, d)
		tour(d)
		behaviour.Eventually(t, func() bool { return d.Stats().Dead >= 2 }, "given up")
		letters, err := d.Queue(text.Name(), "").Dead(t.Context(), 0, 10)
		require.NoError(t, err)
		for _, l := range letters {
			show(l.LastError)
			show(l.Payload)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, canary := range []string{canaryPassword, canaryPayload} {
			require.NotContains(t, seen.String(), canary)
			require.Zero(t, log.Count(canary))
		}
	})
}
