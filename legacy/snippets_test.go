package legacy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/drivertest"
)

// deliver stands for what sends mails.
func deliver(_ context.Context, to, id string) error {
	delivered <- to + " " + id
	return nil
}

var delivered = make(chan string, 1)

func newDurable(t *testing.T, opts ...fanfare.Option) *fanfare.Durable {
	t.Helper()
	d, err := fanfare.New(drivertest.NewMemory(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = d.Stop(ctx)
	})
	return d
}

// receive waits for a value.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came in 10s")
		panic("unreachable")
	}
}

func TestAdopt(t *testing.T) {
	d, sent := newDurable(t), make(chan Reminder)
	require.NoError(t, handleReminders(t.Context(), d, func(r Reminder) error { sent <- r; return nil }))
	for range 2 {
		require.NoError(t, adopt(t.Context(), d, Remind.Name(), "1399734000_a", time.Now(), []byte(`{"User": 9007199254740993, "Text": "hello"}`)))
	}
	require.Equal(t, Reminder{User: 1<<53 + 1, Text: "hello"}, receive(t, sent))
	require.NoError(t, adopt(t.Context(), d, Remind.Name(), "1399734000_a", time.Now(), []byte(`{}`)))
	require.ErrorContains(t, adopt(t.Context(), d, Remind.Name(), "other", time.Now(), []byte(`not JSON`)), "encode")
	require.EqualValues(t, 1, d.Stats().Dispatched)
}

func TestFromGevent(t *testing.T) {
	server := miniredis.RunT(t)
	pool := &redis.Pool{DialContext: func(ctx context.Context) (redis.Conn, error) {
		return redis.DialContext(ctx, "tcp", server.Addr())
	}}
	defer pool.Close()
	ctx, cancel := context.WithCancel(t.Context())
	handled := make(chan Order)
	both, err := open(ctx, pool, func(_ context.Context, o Order) error { handled <- o; return nil })
	require.NoError(t, err)
	want := Order{ID: 1<<53 + 1} // not a float64
	require.NoError(t, place(ctx, both, want))
	for range both {
		require.Equal(t, want, receive(t, handled))
	}
	cancel()
	for _, d := range both {
		require.NoError(t, d.Stop(t.Context()))
	}
}

func TestFromFuturama(t *testing.T) {
	d, sent := newDurable(t), make(chan Reminder)
	require.NoError(t, handleReminders(t.Context(), d, func(r Reminder) error {
		sent <- r
		switch r.Text {
		case "nobody":
			return errNoUser
		case "sleeper":
			return errAsleep
		}
		return nil
	}))
	for _, text := range []string{"hello", "nobody", "sleeper"} {
		r := Reminder{User: 7, Text: text}
		_, err := remindAt(t.Context(), d, time.Now(), r)
		require.NoError(t, err)
		require.Equal(t, r, receive(t, sent))
	}
	id, err := remindAt(t.Context(), d, time.Now().Add(time.Hour), Reminder{User: 7, Text: "never"})
	require.NoError(t, err)
	ok, err := dontRemind(t.Context(), d, id)
	require.NoError(t, err)
	require.True(t, ok, "a waiting event is canceled")
	require.Eventually(t, func() bool {
		s := d.Stats()
		return s.Handled == 1 && s.Dead == 1 && s.Retried == 1 && s.Cancelled == 1
	}, 10*time.Second, 5*time.Millisecond)
}

func TestFromWorker(t *testing.T) {
	d := newDurable(t, fanfare.WithMiddleware(atMost(3)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- runWorker(ctx, d) }()
	require.NoError(t, declare(ctx, d, SendMail{To: "ann@example.org"}, time.Now()))
	require.Regexp(t, `^ann@example.org .+$`, receive(t, delivered))
	cancel()
	require.NoError(t, receive(t, ended))
}

func TestAtMostIsOverAllTopics(t *testing.T) {
	d := newDurable(t, fanfare.WithMiddleware(atMost(1)))
	release, started := make(chan struct{}), make(chan string)
	for _, name := range []string{"a", "b"} {
		topic := fanfare.NewTopic[string](name)
		_, err := topic.Register(t.Context(), d, func(context.Context, string) error {
			started <- name
			<-release
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, "event"))
	}
	first := receive(t, started)
	select {
	case second := <-started:
		t.Fatalf("%s started while %s ran, want one at a time", second, first)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	require.NotEqual(t, first, receive(t, started))
}

func TestOnce(t *testing.T) {
	client, err := fanfare.DialRedis(miniredis.RunT(t).Addr())
	require.NoError(t, err)
	defer client.Close()
	locker, err := fanfare.NewRedisLocker(client)
	require.NoError(t, err)
	failure := errors.New("failed")
	for range 2 {
		ran, err := once(t.Context(), locker, "report", func(ctx context.Context) error {
			require.NoError(t, ctx.Err())
			ran, err := once(ctx, locker, "report", func(context.Context) error { return nil })
			require.NoError(t, err)
			require.False(t, ran, "the lock is held")
			return failure
		})
		require.True(t, ran)
		require.ErrorIs(t, err, failure)
		require.NotErrorIs(t, err, fanfare.ErrLockLost)
	}
}

func TestFromLinda(t *testing.T) {
	d, fetched := newDurable(t), make(chan Page)
	p := Page{URL: "https://example.org"}
	require.NoError(t, crawl(t.Context(), d, Page{URL: p.URL}))
	require.NoError(t, crawl(t.Context(), d, p), "the second one takes the place of the first")
	require.NoError(t, handlePages(t.Context(), d, func(_ context.Context, p Page) error { fetched <- p; return nil }))
	require.Equal(t, p, receive(t, fetched))
}

func TestPeriodicEvent(t *testing.T) {
	const period = 20 * time.Millisecond
	d, looks := newDurable(t), make(chan time.Time)
	p, failed := Page{URL: "https://example.org"}, false
	require.NoError(t, handleChecks(t.Context(), d, period, func(context.Context, Page) error {
		looks <- time.Now()
		if !failed {
			failed = true
			return errors.New("no answer")
		}
		return nil
	}))
	require.NoError(t, startChecks(t.Context(), d, p))
	require.NoError(t, startChecks(t.Context(), d, p), "of another process")
	last := receive(t, looks)
	for range 5 {
		next := receive(t, looks)
		if wait := next.Sub(last); wait < period {
			t.Errorf("looked again after %v, want %v at least", wait, period)
		}
		last = next
	}
	require.Eventually(t, func() bool {
		select {
		case <-looks:
		default:
		}
		ended, err := stopChecks(t.Context(), d, p)
		return ended && err == nil
	}, 10*time.Second, time.Millisecond)
	select {
	case <-looks:
		t.Error("looked again after the checks had ended")
	case <-time.After(5 * period):
	}
}

func TestFromOkq(t *testing.T) {
	d, got := newDurable(t), make(chan string)
	for i, want := range []bool{true, false} {
		ok, err := push(t.Context(), d, "sms", "42", "a\x00\xff")
		require.NoError(t, err)
		require.Equal(t, want, ok, "push %d", i)
	}
	failures := 0
	require.NoError(t, consume(t.Context(), d, func(_ context.Context, queue, id, contents string) error {
		if failures++; failures < 20 {
			return errors.New("not yet")
		}
		got <- queue + " " + id + " " + contents
		return nil
	}))
	require.Equal(t, "sms 42 a\x00\xff", receive(t, got))
}
