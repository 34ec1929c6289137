package fanfare

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Locker hands out locks: a name is held by one holder at a time, in all
// processes that use the same backend and prefix. A lock is not reentrant, and
// those who wait get it in no particular order. Names are 1 to 255 bytes of
// UTF-8. All methods may be called concurrently.
//
// An error means that the caller does not have the lock. It matches ErrLocked,
// ErrUnavailable, or another of what fanfare's backends return; after
// ErrUnknownOutcome it may be up to one [LockTTL] until anybody can have the
// lock. If ctx has ended the error matches ctx.Err() too, and comes up to 100 ms
// later where a lock has to be given back that was got too late.
//
// The context of the lock descends from ctx: it has its values and ends with it,
// so that work under a lock stops when the work around it does. Bound the wait
// alone with [LockWait], not with ctx.
type Locker interface {
	// Acquire waits until it has the lock. If ctx ends while somebody else
	// holds it, the error matches ErrLocked. It bears with a backend that does
	// not answer, such as one that restarts, for one [LockTTL].
	Acquire(ctx context.Context, name string) (Lock, error)

	// TryAcquire does not wait: it returns ErrLocked if somebody holds the lock.
	TryAcquire(ctx context.Context, name string) (Lock, error)
}

// Lock is a lock that was acquired. It is kept, by a goroutine that renews it,
// until Unlock is called or it is lost; every Lock must be unlocked.
type Lock interface {
	// Context ends with the cause ErrLockLost as soon as somebody else may
	// have the lock: it was taken away, or could not be renewed in time. It
	// also ends with Unlock, and with the context given to Acquire, which does
	// not end the lock.
	//
	// A process can be halted for any time between looking at this context
	// and what it does next. Where that must do no harm, use Fence.
	Context() context.Context

	// Fence grows with every acquisition of the name, in all processes: what
	// is written to under the lock may remember it and refuse a smaller one,
	// which comes from a holder that was overtaken. It is never zero.
	Fence() int64

	// Unlock ends Context and the renewals, and frees the lock. It returns nil
	// if nobody else can have had the lock until now, and ErrLockLost if
	// somebody can. Repeated, it returns the same. After any other error it may
	// be repeated to free the lock at once, which else is free within one
	// [LockTTL]; nor does it try for longer. If ctx has ended, it still tries
	// for up to 100 ms.
	Unlock(ctx context.Context) error
}

var (
	// ErrLocked reports that somebody else holds the lock.
	ErrLocked = errors.New("locked")
	// ErrLockLost reports that somebody else may have got the lock before it
	// was unlocked. It is the cause of the context of such a lock.
	ErrLockLost = errors.New("lock lost")
)

// LockerOption sets up a locker. A wrong value is an error of its constructor
// that matches ErrOption.
type LockerOption func(*lockerConfig) error

type lockerConfig struct {
	ttl    time.Duration
	wait   time.Duration // 0: as long as the context lasts
	prefix string
}

// LockTTL sets after how long a lock is free again when its holder has died. It
// is renewed three times in that time while it is held, and its context ends a
// tenth before that time has passed without a renewal. It is 1s to 24h; the
// default is 10s.
func LockTTL(d time.Duration) LockerOption {
	return func(c *lockerConfig) error {
		if err := between(d, minLockTTL, maxLockTTL); err != nil {
			return fmt.Errorf("LockTTL: %w", err)
		}
		c.ttl = (d + time.Millisecond - 1).Truncate(time.Millisecond)
		return nil
	}
}

const (
	minLockTTL = time.Second
	maxLockTTL = 24 * time.Hour
)

// LockWait bounds how long Acquire waits for a lock that somebody else holds;
// it then returns ErrLocked. The default is as long as its context lasts, which
// cannot be used to bound the wait alone, since it also bounds the lock's.
func LockWait(d time.Duration) LockerOption {
	return func(c *lockerConfig) error {
		c.wait = d
		if err := between(d, time.Millisecond, longest); err != nil {
			return fmt.Errorf("LockWait: %w", err)
		}
		return nil
	}
}

// LockPrefix sets what the names of all keys begin with, so that several
// applications share a server without meeting. The default is "fanfare".
func LockPrefix(prefix string) LockerOption {
	return func(c *lockerConfig) error {
		c.prefix = prefix
		if err := checkRedisPrefix(prefix); err != nil {
			return fmt.Errorf("LockPrefix: %w", err)
		}
		return nil
	}
}
