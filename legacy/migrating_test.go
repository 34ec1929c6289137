package legacy_test

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/legacy"
)

// The declarations of this file stand in docs/migrating.md as well, which
// TestGuideShowsThisFile holds. snippets_test.go tests them.

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
