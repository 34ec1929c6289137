package legacy_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/legacy"
)

// The declarations down to the tests stand in docs/migrating.md as well:
// TestGuideShowsThisFile compares them.

// adopt takes over an event of another store, whose payload is JSON. Repeating
// it does no harm while the event waits or runs, and for the WithDedupWindow
// after it ended.
func adopt(ctx context.Context, d *fanfare.Durable, topic, id string, due time.Time, payload []byte) error {
	event := fanfare.With(json.RawMessage(payload), fanfare.ID(id), fanfare.At(due))
	return unlessKnown(d.Dispatch(ctx, topic, event))
}

// unlessKnown takes an event that is there already for accepted.
func unlessKnown(err error) error {
	if errors.Is(err, fanfare.ErrDuplicate) {
		return nil
	}
	return err
}

type Order struct{ ID int64 }

var OrderPlaced = fanfare.NewTopic[Order]("order.placed")

// open returns both dispatchers. They stop when ctx ends.
func open(ctx context.Context, pool *redis.Pool, handle func(context.Context, Order) error) (fanfare.Fanout, error) {
	stop := fanfare.WithContext(ctx, 10*time.Second)
	backoff := fanfare.WithBackoff(legacy.Gevent())
	local, err := fanfare.NewLocal(stop, backoff, fanfare.WithMaxRetry(3))
	if err != nil {
		return nil, err
	}
	remote, err := fanfare.NewRedis(fanfare.RedigoPool(pool), stop, backoff, fanfare.WithMaxRetry(3))
	if err != nil {
		return nil, err
	}
	both := fanfare.Fanout{local, remote}
	for _, d := range both {
		if _, err := OrderPlaced.Register(ctx, d, handle); err != nil {
			return nil, err
		}
	}
	return both, nil
}

func place(ctx context.Context, both fanfare.Fanout, o Order) error {
	return OrderPlaced.Dispatch(ctx, both, o, fanfare.Delay(time.Second))
}

type Reminder struct {
	User int64
	Text string
}

var Remind = fanfare.NewTopic[Reminder]("remind")

var (
	errNoUser = errors.New("no such user")
	errAsleep = errors.New("user is asleep")
)

func handleReminders(ctx context.Context, d fanfare.Dispatcher, send func(Reminder) error) error {
	_, err := Remind.Register(ctx, d, func(_ context.Context, r Reminder) error {
		err := send(r)
		switch {
		case errors.Is(err, errNoUser):
			return fanfare.Discard(err) // was EventStatus_ERROR
		case errors.Is(err, errAsleep):
			return fanfare.RetryIn(time.Hour, err) // was EventStatus_RETRY with a TriggerTime
		}
		return err // was EventStatus_OK or EventStatus_RETRY
	}, legacy.Futurama(), fanfare.MaxAttempts(19))
	return err
}

func remindAt(ctx context.Context, d fanfare.Dispatcher, t time.Time, r Reminder) (string, error) {
	id := fanfare.NewID()
	return id, Remind.Dispatch(ctx, d, r, fanfare.At(t), fanfare.ID(id))
}

func dontRemind(ctx context.Context, d *fanfare.Durable, id string) (bool, error) {
	return d.Cancel(ctx, Remind.Name(), id)
}

type SendMail struct{ To string }

func (m SendMail) Perform(ctx context.Context) error {
	info, _ := fanfare.DeliveryFrom(ctx)
	return deliver(ctx, m.To, info.ID)
}

var Mail = fanfare.NewTopic[SendMail]("SendMail")

func runWorker(ctx context.Context, d fanfare.Dispatcher) error {
	_, err := Mail.Register(ctx, d, func(ctx context.Context, m SendMail) error { return m.Perform(ctx) },
		fanfare.Concurrency(10), legacy.Worker(), fanfare.MaxAttempts(14))
	if err != nil {
		return err
	}
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return d.Stop(drain)
}

func declare(ctx context.Context, d fanfare.Dispatcher, m SendMail, t time.Time) error {
	return Mail.Dispatch(ctx, d, m, fanfare.High, fanfare.At(t), fanfare.MaxAttempts(4))
}

// atMost lets n handlers run at once, over all topics of a dispatcher. It is
// given to fanfare.WithMiddleware.
func atMost(n int) fanfare.Middleware {
	slots := make(chan struct{}, n)
	return func(next fanfare.HandleFunc) fanfare.HandleFunc {
		return func(ctx context.Context, event any) error {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				return next(ctx, event)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// once runs f if nobody holds the lock, and reports whether it did. The context
// of f ends if the lock is lost.
func once(ctx context.Context, locker fanfare.Locker, name string, f func(context.Context) error) (ran bool, err error) {
	lock, err := locker.TryAcquire(ctx, name)
	if errors.Is(err, fanfare.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Unlock(ctx)) }()
	return true, f(lock.Context())
}

type Page struct{ URL string }

var Crawl = fanfare.NewTopic[Page]("crawl")

func handlePages(ctx context.Context, d *fanfare.Durable, fetch func(context.Context, Page) error) error {
	_, err := Crawl.Register(ctx, d, fetch, fanfare.Concurrency(4), fanfare.Lease(time.Minute), legacy.Linda())
	return err
}

func crawl(ctx context.Context, d fanfare.Dispatcher, p Page) error {
	return Crawl.Dispatch(ctx, d, p, fanfare.ID(p.URL), fanfare.Replace, fanfare.MaxAttempts(3))
}

var Check = fanfare.NewTopic[Page]("check")

// handleChecks looks at each page again a period after it was looked at.
func handleChecks(ctx context.Context, d fanfare.Dispatcher, period time.Duration, look func(context.Context, Page) error) error {
	_, err := Check.Register(ctx, d, func(ctx context.Context, p Page) error {
		if err := look(ctx, p); err != nil {
			return err // tried again after the period
		}
		return unlessKnown(Check.Dispatch(ctx, d, p, fanfare.ID(p.URL), fanfare.RunAgain, fanfare.Delay(period)))
	}, fanfare.Fixed(period), fanfare.MaxAttempts(fanfare.Unlimited))
	return err
}

// startChecks may be called by any number of processes.
func startChecks(ctx context.Context, d fanfare.Dispatcher, p Page) error {
	return unlessKnown(Check.Dispatch(ctx, d, p, fanfare.ID(p.URL)))
}

// stopChecks reports that the checks of a page have ended. It is repeated while
// it reports false: then one runs.
func stopChecks(ctx context.Context, d *fanfare.Durable, p Page) (bool, error) {
	if ok, err := d.Cancel(ctx, Check.Name(), p.URL); ok || err != nil {
		return ok, err
	}
	_, err := d.Get(ctx, Check.Name(), p.URL)
	if errors.Is(err, fanfare.ErrNotFound) {
		return true, nil
	}
	return false, err
}

func consume(ctx context.Context, d *fanfare.Durable, callback func(ctx context.Context, queue, id, contents string) error) error {
	for _, queue := range []string{"mail", "sms"} {
		_, err := fanfare.NewTopic[string](queue).Register(ctx, d, func(ctx context.Context, contents string) error {
			info, _ := fanfare.DeliveryFrom(ctx)
			return callback(ctx, info.Topic, info.ID, contents)
		}, fanfare.Concurrency(1), fanfare.Lease(time.Minute), legacy.Okq(), fanfare.MaxAttempts(fanfare.Unlimited))
		if err != nil {
			return err
		}
	}
	return nil
}

// push reports false if the id is known already.
func push(ctx context.Context, d fanfare.Dispatcher, queue, id, contents string) (bool, error) {
	err := fanfare.NewTopic[string](queue).Dispatch(ctx, d, contents, fanfare.ID(id), fanfare.High)
	if errors.Is(err, fanfare.ErrDuplicate) {
		return false, nil
	}
	return err == nil, err
}

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
