package fanfare_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare"
)

// lockLossy is a client whose answers get lost, after the command was carried out.
type lockLossy struct {
	fanfare.RedisClient
	left atomic.Int64 // answers to lose
	lost atomic.Int64
	then func(reply any) // is called with each of them, if not nil
}

func (c *lockLossy) Do(ctx context.Context, args ...any) (any, error) {
	reply, err := c.RedisClient.Do(ctx, args...)
	if err == nil && c.left.Add(-1) >= 0 {
		c.lost.Add(1)
		if c.then != nil {
			c.then(reply)
		}
		return nil, errors.New("connection reset")
	}
	return reply, err
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	sure := newLocker(t, c)
	for _, tt := range []struct {
		name    string
		acquire func(fanfare.Locker, context.Context, string) (fanfare.Lock, error)
		lose    int64
		ctx     time.Duration
		want    error
	}{
		{"try, one", fanfare.Locker.TryAcquire, 1, time.Minute, nil},
		{"try, two", fanfare.Locker.TryAcquire, 2, time.Minute, nil},
		{"try, three", fanfare.Locker.TryAcquire, 3, time.Minute, fanfare.ErrUnavailable},
		{"try, all", fanfare.Locker.TryAcquire, 1000, time.Minute, fanfare.ErrUnknownOutcome},
		{"wait, one", fanfare.Locker.Acquire, 1, time.Minute, nil},
		{"wait, five", fanfare.Locker.Acquire, 5, time.Minute, nil},
		{"wait, all", fanfare.Locker.Acquire, 1000, 100 * time.Millisecond, fanfare.ErrUnknownOutcome},
	} {
		var first any
		lossy := &lockLossy{RedisClient: c}
		lossy.left.Store(tt.lose)
		lossy.then = func(reply any) {
			if first == nil {
				first = reply
				lockDo(t, c, "PEXPIRE", lockKeys(t, c, ":holder")[0], 5000)
			}
		}
		l := newLocker(t, lossy)
		ctx, cancel := context.WithTimeout(t.Context(), tt.ctx)
		lock, err := tt.acquire(l, ctx, tt.name)
		cancel()
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if lossy.lost.Load() == 0 {
			t.Errorf("%s: no answer was lost", tt.name)
		}
		if err == nil {
			if fence := first.([]any)[0]; fence != lock.Fence() {
				t.Errorf("%s: fence = %d, want %d of the first try", tt.name, lock.Fence(), fence)
			}
			if ms := lockDo(t, c, "PTTL", lockKeys(t, c, ":holder")[0]).(int64); ms <= 5000 {
				t.Errorf("%s: the key expires in %dms, want that of the last try", tt.name, ms)
			}
			mustUnlock(t, lock)
		}
		mustBeFree(t, sure, tt.name)
		lockDo(t, c, "FLUSHALL")
	}
}

func TestLostAnswerOfUnlock(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	lossy := &lockLossy{RedisClient: c}
	l := newLocker(t, lossy)
	lock := mustLock(t, l, "name")
	lossy.left.Store(1)
	mustUnlock(t, lock)
	mustBeFree(t, l, "name")

	lock = mustLock(t, l, "name")
	lossy.left.Store(3)
	if err := lock.Unlock(t.Context()); !errors.Is(err, fanfare.ErrUnknownOutcome) {
		t.Errorf("Unlock = %v, want ErrUnknownOutcome", err)
	}
	next := mustLock(t, l, "name")
	mustUnlock(t, lock)
	mustBeLocked(t, l, "name")
	mustUnlock(t, next)

	// An answer that was lost before, of Acquire, excuses nothing.
	lossy.left.Store(1)
	lock = mustLock(t, l, "name")
	lockDo(t, c, "DEL", lockKeys(t, c, ":holder")[0])
	if err := lock.Unlock(t.Context()); !errors.Is(err, fanfare.ErrLockLost) {
		t.Errorf("Unlock of a stolen lock = %v, want ErrLockLost", err)
	}
}

// TestLostAnswerThenNoServer has a release whose answer is lost, before the
// server is: nobody knows whether it was carried out.
func TestLostAnswerThenNoServer(t *testing.T) {
	t.Parallel()
	s, c := lockServer(t)
	lossy := &lockLossy{RedisClient: c}
	lossy.then = func(any) { s.Kill() }
	lock := mustLock(t, newLocker(t, lossy), "name")
	lossy.left.Store(1)
	if err := lock.Unlock(t.Context()); !errors.Is(err, fanfare.ErrUnknownOutcome) {
		t.Errorf("Unlock = %v, want ErrUnknownOutcome", err)
	}
}

// TestLostAnswerOfLateUnlock has a lock that is lost, and then a release whose
// answer is: the repeated one must not take the first for its success.
func TestLostAnswerOfLateUnlock(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	lossy := &lockLossy{RedisClient: c}
	l := newLocker(t, lossy, fanfare.LockTTL(lockTTL))
	noticed, unnoticed := mustLock(t, l, "noticed"), mustLock(t, newLocker(t, lossy), "unnoticed")
	for _, key := range lockKeys(t, c, ":holder") {
		lockDo(t, c, "DEL", key)
	}
	mustLose(t, noticed, lockTTL)
	lossy.left.Store(1)
	if err := noticed.Unlock(t.Context()); !errors.Is(err, fanfare.ErrLockLost) {
		t.Errorf("Unlock of a stolen lock = %v, want ErrLockLost", err)
	}
	lossy.left.Store(0)
	if err := unnoticed.Unlock(t.Context()); !errors.Is(err, fanfare.ErrLockLost) {
		t.Errorf("Unlock of a stolen lock = %v, want ErrLockLost", err)
	}

	late := mustLock(t, l, "late")
	lossy.left.Store(1000)
	mustLose(t, late, lockTTL)
	lockDo(t, c, "DEL", lockKeys(t, c, ":holder")[0])
	lossy.left.Store(1)
	if err := late.Unlock(t.Context()); !errors.Is(err, fanfare.ErrLockLost) {
		t.Errorf("Unlock of a lock that was not renewed = %v, want ErrLockLost", err)
	}
}

func TestLostAnswerOfRenewal(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	lossy := &lockLossy{RedisClient: c}
	l := newLocker(t, lossy, fanfare.LockTTL(keepLock))
	lock := mustLock(t, l, "name")
	lossy.left.Store(1)
	select {
	case <-lock.Context().Done():
		t.Errorf("context ended: %v", context.Cause(lock.Context()))
	case <-time.After(3 * keepLock / 2):
	}
	if lossy.lost.Load() != 1 {
		t.Errorf("%d answers were lost, want 1", lossy.lost.Load())
	}

	// With every answer lost the lock is kept in truth, and Unlock says so.
	lossy.left.Store(1000)
	mustLose(t, lock, keepLock)
	lossy.left.Store(0)
	mustUnlock(t, lock)
}

// TestLostAnswerWhileLocked has a wait of more than a TTL before the first
// answer is lost: what Acquire bears counts from there.
func TestLostAnswerWhileLocked(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	lossy := &lockLossy{RedisClient: c}
	lost := make(chan struct{})
	lossy.then = func(any) { close(lost) }
	lock := mustLock(t, newLocker(t, c), "name")
	var waiting sync.WaitGroup
	waiting.Go(func() {
		next, err := newLocker(t, lossy, fanfare.LockTTL(lockTTL)).Acquire(t.Context(), "name")
		if err != nil {
			t.Errorf("Acquire: %v", err)
			return
		}
		mustUnlock(t, next)
	})
	<-time.After(3 * lockTTL / 2)
	lossy.left.Store(1)
	<-lost
	mustUnlock(t, lock)
	waiting.Wait()
}
