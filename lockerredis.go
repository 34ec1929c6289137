package fanfare

import (
	"context"
	"crypto/rand"
	_ "embed" // the scripts
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// NewRedisLocker returns a locker whose locks are kept by the server of c. It
// starts nothing, keeps nothing open, and does not close c.
//
// A lock is a key that expires, so a holder that dies blocks the name for one
// [LockTTL] at most. The server must not evict keys (maxmemory-policy
// noeviction), and one that loses writes, by a failover or a crash, loses
// locks: two may then hold one until the older finds out, within a third of its
// TTL. Fences grow nevertheless, as long as the server's clock is not set back.
// For its fence each name leaves one small key for ever.
//
// In miniredis time stands still unless a test moves it: there a lock whose
// holder is gone is never free until FastForward.
func NewRedisLocker(c RedisClient, opts ...LockerOption) (Locker, error) {
	if isNil(c) {
		return nil, fmt.Errorf("NewRedisLocker: nil client: %w", ErrOption)
	}
	l := &redisLocker{client: c, lockerConfig: lockerConfig{ttl: 10 * time.Second, prefix: "fanfare"}}
	for i, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("NewRedisLocker: option %d is nil: %w", i+1, ErrOption)
		}
		if err := o(&l.lockerConfig); err != nil {
			return nil, fmt.Errorf("NewRedisLocker: %w: %w", ErrOption, err)
		}
	}
	return l, nil
}

type redisLocker struct {
	client RedisClient
	lockerConfig
}

func (r *redisLocker) Acquire(ctx context.Context, name string) (Lock, error) {
	var over <-chan time.Time
	if r.wait > 0 {
		timer := time.NewTimer(r.wait)
		defer timer.Stop()
		over = timer.C
	}
	return r.acquire(ctx, name, func(l *redisLock) error { return l.await(ctx, over) })
}

func (r *redisLocker) TryAcquire(ctx context.Context, name string) (Lock, error) {
	return r.acquire(ctx, name, func(l *redisLock) error {
		ctx, cancel := context.WithTimeout(ctx, r.callTimeout())
		defer cancel()
		return persist(ctx, func() error {
			_, err := l.try(ctx)
			return err
		})
	})
}

// acquire makes a lock, which take has to get hold of.
func (r *redisLocker) acquire(ctx context.Context, name string, take func(*redisLock) error) (Lock, error) {
	if err := driver.CheckName("lock name", name); err != nil {
		return nil, err
	}
	base := r.prefix + ":lock:{" + encodeRedisName(name) + "}:"
	l := &redisLock{redisLocker: r, name: name, holder: base + "holder", counter: base + "fence", token: rand.Text()}
	err := take(l)
	switch {
	case err == nil:
		l.hold(ctx)
		return l, nil
	case l.unsure && !l.abandon(ctx):
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	case unanswered(err):
		err = redisError(err, false)
	}
	if ended := endOf(ctx); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", err, ended)
	}
	return nil, fmt.Errorf("acquire lock %s: %w", quoteName(name), err)
}

// callTimeout bounds one call, so that a lock can be renewed again in time
// after one without an answer.
func (r *redisLocker) callTimeout() time.Duration {
	return min(r.ttl/3, redisCallTimeout)
}

// redisLock is one acquisition: first the attempt, then the lock that is held.
// At any time one goroutine has it but for ctx, end, stop, kept, turn and fence.
type redisLock struct {
	*redisLocker
	name            string
	holder, counter string // keys
	token           string
	fence           int64

	asked  time.Time // when the request was sent that set when the key expires
	unsure bool      // a request was sent whose answer was lost

	ctx    context.Context
	end    context.CancelCauseFunc // of ctx
	expiry *time.Timer             // calls lose
	stop   context.CancelFunc      // ends keep
	kept   chan struct{}           // closed when keep has returned

	turn     chan struct{} // has an element while an Unlock has the lock
	unlocked time.Time     // when Unlock was first called
	taken    bool          // the key was found to be somebody else's, or gone
	settled  bool          // Unlock knows its outcome:
	outcome  error
}

// Pauses between two tries to acquire, which double from the first to the
// longest. The longest also bounds that between two tries to renew.
const (
	firstLockPause = 5 * time.Millisecond
	maxLockPause   = 250 * time.Millisecond
)

// lockGrace is how long a lock may be given back after the context has ended.
const lockGrace = 100 * time.Millisecond

var errLateAnswer = errors.New("the answer came too late")

// await tries until it gets the lock, ctx or over says stop, or the server has
// not answered for one TTL.
func (l *redisLock) await(ctx context.Context, over <-chan time.Time) error {
	answered := time.Now()
	var last error
	for pause := firstLockPause; ; pause = min(2*pause, maxLockPause) {
		free, err := l.try(ctx)
		switch {
		case err == nil:
			return nil
		case endOf(ctx) == nil:
		case errors.Is(last, ErrLocked):
			return last // this try was cut short, the one before says more
		default:
			return err
		}
		last = err
		wait := pause/2 + mathrand.N(pause/2)
		switch {
		case errors.Is(err, ErrLocked):
			answered = time.Now()
			if free >= 0 {
				wait = min(wait, max(free, time.Millisecond))
			}
		case !unanswered(err) && !errors.Is(err, ErrUnavailable):
			return err
		case time.Since(answered) >= l.ttl:
			return err
		}
		select {
		case <-time.After(wait):
		case <-over:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// endOf returns the error of ctx, also when its deadline has passed and its
// timer is late: a call may have run into the deadline before that.
func endOf(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// try asks for the lock once. It returns ErrLocked if somebody else has it, and
// then when it will be free, or a negative time if that is not known.
func (l *redisLock) try(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, l.callTimeout())
	defer cancel()
	l.asked = time.Now()
	reply, err := l.run(ctx, lockAcquireScript, []string{l.holder, l.counter}, l.token, l.ttl.Milliseconds())
	if err != nil {
		l.unsure = l.unsure || unanswered(err)
		return 0, err
	}
	answer, err := redisInts(reply, 2)
	if err != nil {
		l.unsure = true
		return 0, err
	}
	if l.fence = answer[0]; l.fence == 0 {
		l.unsure = false
		return time.Duration(answer[1]) * time.Millisecond, ErrLocked
	}
	if !time.Now().Before(l.trustedUntil()) {
		l.unsure = true
		return 0, errLateAnswer
	}
	return 0, nil
}

// trustedUntil is when the lock may be somebody else's, less a margin for
// clocks that do not run alike and for the holder to stop.
func (l *redisLock) trustedUntil() time.Time { return l.asked.Add(l.ttl - l.ttl/10) }

// abandon gives back what try may have got, and reports whether that is sure.
func (l *redisLock) abandon(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockGrace)
	defer cancel()
	_, err := l.release(ctx)
	return err == nil
}

// hold begins to keep the lock, until Unlock.
func (l *redisLock) hold(ctx context.Context) {
	l.unsure = false
	l.kept, l.turn = make(chan struct{}), make(chan struct{}, 1)
	l.ctx, l.end = context.WithCancelCause(ctx)
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.expiry = time.AfterFunc(time.Until(l.trustedUntil()), l.lose)
	go l.keep(ctx) // Unlock waits for it
}

func (l *redisLock) lose() {
	l.end(ErrLockLost)
	l.stop()
}

// keep renews the lock until ctx ends or it is lost.
func (l *redisLock) keep(ctx context.Context) {
	defer close(l.kept)
	timer := time.NewTimer(time.Until(l.asked.Add(l.ttl / 3)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		asked := time.Now()
		ours, err := l.renew(ctx)
		switch {
		case err != nil:
			pause := min(maxLockPause, l.ttl/20)
			timer.Reset(pause/2 + mathrand.N(pause/2))
		case !ours:
			l.taken = true
			l.lose()
			return
		case !l.expiry.Stop():
			return // lose was called
		default:
			l.asked = asked
			l.expiry.Reset(time.Until(l.trustedUntil()))
			timer.Reset(time.Until(asked.Add(l.ttl / 3)))
		}
	}
}

func (l *redisLock) Context() context.Context { return l.ctx }

func (l *redisLock) Fence() int64 { return l.fence }

func (l *redisLock) Unlock(ctx context.Context) error {
	l.end(nil)
	l.stop()
	if err := l.unlock(ctx); err != nil {
		return fmt.Errorf("unlock %s: %w", quoteName(l.name), err)
	}
	return nil
}

func (l *redisLock) unlock(ctx context.Context) error {
	now := time.Now()
	if ctx.Err() != nil {
		// It often comes with the context that ended the work, or the lock's.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lockGrace)
		defer cancel()
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	select {
	case <-l.kept:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	l.expiry.Stop()
	if l.unlocked.IsZero() {
		l.unlocked = now
	}
	if l.taken {
		return ErrLockLost
	}
	if l.settled {
		return l.outcome
	}
	return l.settle(ctx)
}

// settle releases the lock and keeps the outcome, once it is known.
func (l *redisLock) settle(ctx context.Context) error {
	var ours bool
	err := persist(ctx, func() error {
		var err error
		ours, err = l.release(ctx)
		l.unsure = l.unsure || unanswered(err)
		return err
	})
	switch {
	case err != nil && l.unsure:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	case err != nil:
		return err
	case ours:
	case l.unsure && l.unlocked.Before(l.trustedUntil()):
		// An earlier release was carried out and its answer was lost.
	default:
		l.outcome = ErrLockLost
	}
	l.settled = true
	return l.outcome
}

// renew lets the key expire one TTL from now; false means that it is not ours.
func (l *redisLock) renew(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, l.callTimeout())
	defer cancel()
	reply, err := l.run(ctx, lockRenewScript, []string{l.holder}, l.token, l.ttl.Milliseconds())
	return reply == int64(1), err
}

// release deletes the key; false means that it is not ours.
func (l *redisLock) release(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, l.callTimeout())
	defer cancel()
	reply, err := l.run(ctx, lockReleaseScript, []string{l.holder}, l.token)
	return reply == int64(1), err
}

// persist calls f, which may be repeated, up to three times while no answer
// comes and ctx lasts.
func persist(ctx context.Context, f func() error) error {
	for tries := 1; ; tries++ {
		err := f()
		if tries == 3 || !unanswered(err) || ctx.Err() != nil {
			return err
		}
	}
}

// unanswered reports whether err says that a request was sent and no answer came.
func unanswered(err error) bool {
	var refused RedisError
	return err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrLocked) && !errors.As(err, &refused)
}

var (
	//go:embed lua/lockacquire.lua
	lockAcquireLua string
	//go:embed lua/lockrenew.lua
	lockRenewLua string
	//go:embed lua/lockrelease.lua
	lockReleaseLua string

	lockAcquireScript = newRedisScript(lockAcquireLua)
	lockRenewScript   = newRedisScript(lockRenewLua)
	lockReleaseScript = newRedisScript(lockReleaseLua)
)

// run runs a script. Errors for which unanswered is true are the client's own:
// the caller knows more of the outcome.
func (r *redisLocker) run(ctx context.Context, s *redisScript, keys []string, args ...any) (any, error) {
	reply, err := s.do(ctx, r.client, keys, args)
	if unanswered(err) {
		return nil, err
	}
	return reply, redisError(err, true)
}
