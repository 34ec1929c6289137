package sqltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// timeout is that of calls to a frozen server, and late by how much they may
// exceed it on a busy machine.
const (
	late    = 2 * time.Second
	timeout = 100 * time.Millisecond
)

// TestServerFreezesAtEveryStatement stalls the server just before it gets a
// statement, for each statement of each verb that is one transaction.
func TestServerFreezesAtEveryStatement(t *testing.T) {
	eachServer(t, func(t *testing.T, e engine, server *testsvc.Server) {
		prefix := newPrefix()
		sound := e.broker(t, e.open(t, server.URL), sqlqueue.WithPrefix(prefix))
		p, db := e.tapped(t, server.URL)
		lossy := e.broker(t, db, sqlqueue.WithPrefix(prefix))
		for _, v := range verbs {
			switch v.name {
			case "push", "claim", "settle", "extend", "cancel":
				freezePoints(t, v, sound, lossy, p, server)
			}
		}
		behaviour.Eventually(t, func() bool { return db.Stats().InUse == 0 }, "connections that were not given back")
	})
}

func freezePoints(t *testing.T, v verb, sound, lossy *sqlqueue.Broker, p *tap, server *testsvc.Server) {
	t.Helper()
	for n := 1; ; n++ {
		s := &scene{T: t, b: sound, name: fmt.Sprintf("%s, statement %d", v.name, n)}
		s.q = driver.Queue{Topic: s.name, Group: "g"}
		v.arrange(s)
		seen, text := 0, ""
		p.set(func(st statement) loss {
			if seen++; seen == n {
				text = st.text
				server.Pause()
			}
			return kept
		})
		begin := time.Now()
		err := s.try(v, lossy, timeout)
		took := time.Since(begin)
		p.set(nil)
		if text == "" {
			require.NoError(t, err, s.name)
			require.Greater(t, n, 4, s.name)
			return
		}
		server.Resume()
		name := fmt.Sprintf("%s %.60q: %v", s.name, text, err)
		require.Less(t, took, timeout+late, name)
		switch {
		case err == nil:
		case errors.Is(err, driver.ErrUnknownOutcome):
			require.Equal(t, "COMMIT", text, name)
		default:
			require.ErrorIs(t, err, driver.ErrUnavailable, name)
			require.False(t, v.done(s) && !v.steps, name)
		}
		behaviour.Eventually(t, func() bool {
			require.NoError(t, s.try(v, lossy, patience), name)
			return v.done(s)
		}, name)
	}
}

func TestServerFreezes(t *testing.T) {
	eachServer(t, func(t *testing.T, e engine, server *testsvc.Server) {
		prefix := newPrefix()
		db := e.open(t, server.URL)
		db.SetMaxOpenConns(10)
		b := e.broker(t, db, sqlqueue.WithPrefix(prefix), sqlqueue.WithPollInterval(10*time.Millisecond))
		d, err := fanfare.New(b, fanfare.WithLease(2*time.Second))
		require.NoError(t, err)
		behaviour.StopWith(t, d)
		got := consume(t, d)
		s := &scene{T: t, b: b, q: driver.Queue{Topic: "held", Group: "g"}, name: "freeze"}
		s.subscribe("g")
		s.push(messages(abc...)...)
		s.claim(3)

		server.Pause()
		var all sync.WaitGroup
		for name, call := range s.calls(b) {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				begin := time.Now()
				err := call(ctx)
				if took := time.Since(begin); took > 300*time.Millisecond+late {
					t.Errorf("%s returned after %v", name, took)
				}
				woken := name == "Wait" && err == nil // by what was dispatched before
				if !woken && !errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, driver.ErrUnknownOutcome) {
					t.Errorf("%s on a frozen server = %v", name, err)
				}
			})
		}
		all.Wait()
		server.Resume()

		for name, call := range s.calls(b) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			require.NoError(t, call(ctx), name)
			cancel()
		}
		require.NoError(t, text.Dispatch(t.Context(), d, "after"))
		drained(t, d)
		require.Equal(t, 1, got.all()["after"])
		require.NoError(t, d.Stop(t.Context()))
		behaviour.Eventually(t, func() bool { return db.Stats().InUse == 0 }, "connections that were not given back")
	})
}

// TestSlowNotificationHoldsUpNoDeadline lets the notification of one dispatch
// hang while another is made.
func TestSlowNotificationHoldsUpNoDeadline(t *testing.T) {
	e := engines[1]
	p, db := e.tapped(t, e.source(t))
	b := e.broker(t, db, sqlqueue.WithPrefix(newPrefix()))
	hangs, release := make(chan struct{}, 10), make(chan struct{})
	p.set(func(s statement) loss {
		if strings.Contains(s.text, "pg_notify") {
			hangs <- struct{}{}
			<-release
		}
		return kept
	})
	done := make(chan error, 2)
	go func() {
		_, err := b.Push(t.Context(), "t", messages("a"))
		done <- err
	}()
	<-hangs
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	go func() {
		_, err := b.Push(ctx, "t", messages("b"))
		done <- err
	}()
	select {
	case err := <-done:
		require.True(t, err == nil || ctx.Err() != nil, err)
	case <-time.After(patience):
		t.Error("the second dispatch waits for the notification of the first")
	}
	close(release)
	require.NoError(t, <-done)
}

// calls are all calls of a broker.
func (s *scene) calls(b *sqlqueue.Broker) map[string]func(ctx context.Context) error {
	q, other := s.q, driver.Queue{Topic: "other", Group: "g"}
	return map[string]func(ctx context.Context) error{
		"Push":        func(ctx context.Context) error { _, err := b.Push(ctx, "other", messages("a")); return err },
		"Wait":        func(ctx context.Context) error { return b.Wait(ctx, q, time.Second) },
		"Subscribe":   func(ctx context.Context) error { return b.Subscribe(ctx, other) },
		"Unsubscribe": func(ctx context.Context) error { return b.Unsubscribe(ctx, other) },
		"Pause":       func(ctx context.Context) error { return b.Pause(ctx, other) },
		"Resume":      func(ctx context.Context) error { return b.Resume(ctx, other) },
		"Claim": func(ctx context.Context) error {
			_, err := b.Claim(ctx, q, driver.ClaimRequest{Limit: 1, Lease: time.Minute})
			return err
		},
		"Extend": func(ctx context.Context) error {
			_, err := b.Extend(ctx, q, "name", time.Minute, s.receipts())
			return err
		},
		"Settle": func(ctx context.Context) error {
			_, err := b.Settle(ctx, q, []driver.Settlement{{Receipt: s.receipts()[0]}})
			return err
		},
		"Cancel":     func(ctx context.Context) error { _, err := b.Cancel(ctx, "other", "a"); return err },
		"Reschedule": func(ctx context.Context) error { _, err := b.Reschedule(ctx, "other", "a", time.Now()); return err },
		"Status":     func(ctx context.Context) error { _, err := b.Status(ctx); return err },
		"List":       func(ctx context.Context) error { _, err := b.List(ctx, q, driver.Waiting, 0, 10); return err },
		"Get":        func(ctx context.Context) error { _, err := b.Get(ctx, q, "b"); return err },
		"Requeue":    func(ctx context.Context) error { _, err := b.Requeue(ctx, q, "x"); return err },
		"DeleteDead": func(ctx context.Context) error { _, err := b.DeleteDead(ctx, q, "x"); return err },
		"Purge":      func(ctx context.Context) error { _, err := b.Purge(ctx, other); return err },
	}
}
