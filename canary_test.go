package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// What nobody may read where it does not belong.
const (
	canaryPassword = "hunter2-canary"
	canaryPayload  = "payload-canary"
	canaryHeader   = "header-canary"
)

type canaryEvent struct{ Card, Number string }

var canaryTopic = fanfare.NewTopic[canaryEvent]("canary")

// shown is all that a program may come to print.
type shown struct {
	behaviour.Logs
	t *testing.T
}

func newShown(t *testing.T) *shown { return &shown{t: t} }

func (s *shown) options() []fanfare.Option {
	note := func(o fanfare.Observation) { s.add("observation", o) }
	return []fanfare.Option{
		fanfare.WithLogger(slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		fanfare.WithObserver(fanfare.Observer{
			Dispatched: note, Started: note, Finished: note, Retried: note, Dead: note, Cancelled: note, LeaseLost: note,
		}),
	}
}

// add prints v in every way.
func (s *shown) add(what string, v any) {
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		fmt.Fprintf(s, "%s "+verb+"\n", what, v)
	}
	if err, ok := v.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(s, "%+v %#v\n", err, err)
		}
		if many, ok := v.(interface{ Unwrap() []error }); ok {
			for _, err := range many.Unwrap() {
				fmt.Fprintf(s, "%+v %#v\n", err, err)
			}
		}
	}
}

// clean stops d, and requires that no canary was shown, as text or as bytes.
func (s *shown) clean(d fanfare.Dispatcher) {
	s.t.Helper()
	ctx, cancel := contextFor(2 * time.Second)
	defer cancel()
	s.add("stop", d.Stop(ctx))
	for _, secret := range []string{canaryPassword, canaryPayload, canaryHeader} {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.Trim(fmt.Sprintf("%#v", []byte(secret)), "[]byte{}")} {
			if s.Count(form) > 0 {
				s.t.Errorf("%s is shown:\n%s", secret, s.around(form))
			}
		}
	}
}

// around returns the lines of all that was shown with form in them.
func (s *shown) around(form string) string {
	var lines []string
	for line := range strings.Lines(s.String()) {
		if at := strings.Index(line, form); at >= 0 {
			lines = append(lines, fmt.Sprintf("%.60s … %s", line, line[max(0, at-80):min(len(line), at+40)]))
		}
	}
	return strings.Join(lines, "\n")
}

// tour takes canaries along many ways that fail, and prints what comes back.
func (s *shown) tour(d fanfare.Dispatcher) {
	ctx, cancel := contextFor(2 * time.Second)
	defer cancel()
	secret := canaryEvent{canaryPayload, canaryPayload}
	opts := func(o ...fanfare.EventOption) []fanfare.EventOption {
		return append(o, fanfare.Header("secret", canaryHeader))
	}
	s.add("dispatch", canaryTopic.Dispatch(ctx, d, secret, opts(fanfare.ID("x"), fanfare.Delay(time.Hour))...))
	s.add("duplicate", canaryTopic.Dispatch(ctx, d, secret, opts(fanfare.ID("x"))...))
	s.add("fan-out", canaryTopic.Dispatch(ctx, fanfare.Fanout{d}, secret, opts(fanfare.ID("x"))...))
	s.add("wrong id", canaryTopic.Dispatch(ctx, d, secret, opts(fanfare.ID(strings.Repeat("y", 999)))...))
	s.add("wrong type", d.Dispatch(ctx, canaryTopic.Name(), fanfare.With(canaryPayload, opts()...)))
	s.add("cannot be encoded", d.Dispatch(ctx, "functions", fanfare.With(map[string]any{canaryPayload: func() {}}, opts()...)))
	s.add("too large", d.Dispatch(ctx, "large", fanfare.With(strings.Repeat(canaryPayload, 1<<18), opts()...)))
	for n := range 4 {
		s.add("handled", canaryTopic.Dispatch(ctx, d, canaryEvent{canaryPayload, fmt.Sprint(n)}, opts()...))
	}
	if durable, ok := d.(*fanfare.Durable); ok {
		s.add("batch", durable.DispatchBatch(ctx, canaryTopic.Name(), []any{secret, fanfare.With(secret, opts(fanfare.ID("x"))...), nil}))
		s.add("health", durable.Health(ctx))
		status, err := durable.Status(ctx)
		s.add("status", status)
		s.add("status", err)
		q := durable.Queue(canaryTopic.Name(), "")
		letters, err := q.Dead(ctx, 0, 100)
		s.add("dead", err)
		for _, l := range letters {
			s.add("last error", l.LastError)
			s.add("payload", l.Payload)
			s.add("reason", l.Reason)
		}
		claimed, err := q.Claim(ctx, 1, time.Second)
		s.add("claim", err)
		for _, c := range claimed {
			s.add("bury", c.Bury(ctx, errors.New("no")))
		}
	}
}

// register registers a handler that fails in every way; its errors say nothing
// of the events, and what it prints is of this package.
func (s *shown) register(d fanfare.Dispatcher) {
	ctx, cancel := contextFor(2 * time.Second)
	defer cancel()
	_, err := canaryTopic.Register(ctx, d, func(ctx context.Context, e canaryEvent) error {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		fmt.Fprintf(s, "context %v %+v %s of %v %+v %s\n", ctx, ctx, ctx, child, child, child)
		switch e.Number {
		case "0":
			panic(io.ErrUnexpectedEOF)
		case "1":
			return fanfare.Discard(io.ErrUnexpectedEOF)
		case "2":
			return io.ErrUnexpectedEOF
		}
		_, err := fanfare.Decode[int](fanfare.Encoded{})
		return err
	}, fanfare.MaxAttempts(2), fanfare.NoBackoff())
	s.add("register", err)
}

// Passwords, payloads and header values stay out of logs, errors, dead letters'
// reasons, and of what package fmt prints of this package's values.
func TestCanariesStayHidden(t *testing.T) {
	t.Parallel()
	user := func(s *testsvc.Server, password string) string {
		return "redis://worker:" + password + "@" + s.Addr
	}
	start := func(t *testing.T) *testsvc.Server {
		s := testsvc.StartRedis(t)
		tell(t, s, "ACL", "SETUSER", "worker", "on", ">"+canaryPassword, "~*", "&*", "+@all")
		return s
	}
	for name, harm := range map[string]func(t *testing.T, s *testsvc.Server, d *fanfare.Durable){
		"nothing": func(*testing.T, *testsvc.Server, *fanfare.Durable) {},
		"down":    func(_ *testing.T, s *testsvc.Server, _ *fanfare.Durable) { s.Kill() },
		"frozen":  func(_ *testing.T, s *testsvc.Server, _ *fanfare.Durable) { s.Pause() },
		"full": func(t *testing.T, s *testsvc.Server, _ *fanfare.Durable) {
			tell(t, s, "CONFIG", "SET", "maxmemory", "1")
		},
		"replica": func(t *testing.T, s *testsvc.Server, _ *fanfare.Durable) { tell(t, s, "REPLICAOF", "127.0.0.1", "1") },
		"no permission": func(t *testing.T, s *testsvc.Server, _ *fanfare.Durable) {
			tell(t, s, "ACL", "SETUSER", "worker", "-@all")
		},
		"no script": func(t *testing.T, s *testsvc.Server, _ *fanfare.Durable) {
			tell(t, s, "ACL", "SETUSER", "worker", "-eval")
		},
		"no user": func(t *testing.T, s *testsvc.Server, _ *fanfare.Durable) { tell(t, s, "ACL", "DELUSER", "worker") },
		"garbage": func(t *testing.T, s *testsvc.Server, _ *fanfare.Durable) {
			tell(t, s, "FLUSHALL")
			tell(t, s, "SET", "fanfare:{canary}:meta", "x")
		},
		"stopped": func(t *testing.T, _ *testsvc.Server, d *fanfare.Durable) { require.NoError(t, d.Stop(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, seen := start(t), newShown(t)
			d, err := fanfare.OpenRedis(user(s, canaryPassword), seen.options()...)
			require.NoError(t, err)
			behaviour.StopWith(t, d)
			seen.add("dispatcher", d) // while it does nothing: it is no value to copy or print
			if name != "full" {
				seen.register(d)
			}
			harm(t, s, d)
			seen.tour(d)
			if name == "nothing" {
				behaviour.Eventually(t, func() bool { return d.Stats().Dead >= 4 }, "given up")
			}
			seen.register(d)
			seen.tour(d)
			if name == "frozen" {
				s.Resume()
			}
			client, err := fanfare.DialRedis(user(s, canaryPassword))
			require.NoError(t, err)
			defer client.Close()
			seen.add("client", client)
			seen.clean(d)
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		s, seen := testsvc.StartRedis(t), newShown(t)
		tell(t, s, "ACL", "SETUSER", "worker", "on", ">other", "~*", "+@all")
		d, err := fanfare.OpenRedis(user(s, canaryPassword), seen.options()...)
		require.NoError(t, err)
		behaviour.StopWith(t, d)
		seen.register(d)
		seen.tour(d)
		seen.clean(d)
	})
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		seen := newShown(t)
		d := openLocal(t, seen.options()...)
		seen.register(d)
		seen.tour(d)
		behaviour.Eventually(t, func() bool { return d.Stats().Dead >= 3 }, "given up")
		_ = d.Stop(t.Context())
		seen.tour(d)
		seen.clean(d)
	})
}
