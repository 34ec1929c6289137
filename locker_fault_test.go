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

func TestStolenLock(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c, fanfare.LockTTL(6*time.Second))
	thefts := []struct {
		name    string
		command []any // with the key as its last argument
		left    int   // keys that Unlock must leave
	}{
		{"overwritten", []any{"COPY", "thief"}, 1},
		{"other-type", []any{"COPY", "thieves"}, 1},
		{"deleted", []any{"DEL"}, 0},
	}
	lockDo(t, c, "SET", "thief", "x")
	lockDo(t, c, "SADD", "thieves", "x")
	var locks []fanfare.Lock
	for _, tt := range thefts {
		locks = append(locks, mustLock(t, l, tt.name))
		command := append(tt.command, lockKeys(t, c, "{"+tt.name+"}:holder")[0])
		if tt.left > 0 {
			command = append(command, "REPLACE")
		}
		lockDo(t, c, command...)
	}
	for i, tt := range thefts {
		mustLose(t, locks[i], 2*time.Second)
		for range 2 {
			if err := locks[i].Unlock(t.Context()); !errors.Is(err, fanfare.ErrLockLost) {
				t.Errorf("%s: Unlock = %v, want ErrLockLost", tt.name, err)
			}
		}
		if n := len(lockKeys(t, c, "{"+tt.name+"}:holder")); n != tt.left {
			t.Errorf("%s: %d keys are left, want %d", tt.name, n, tt.left)
		}
	}

	lock := mustLock(t, l, "unnoticed")
	lockDo(t, c, "COPY", "thieves", lockKeys(t, c, "{unnoticed}:holder")[0], "REPLACE")
	if err := lock.Unlock(t.Context()); !errors.Is(err, fanfare.ErrLockLost) {
		t.Errorf("Unlock before the theft was noticed = %v, want ErrLockLost", err)
	}
}

func TestLockWhileServerIsDown(t *testing.T) {
	t.Parallel()
	s, c := lockServer(t)
	l := newLocker(t, c, fanfare.LockTTL(lockTTL))
	lock := mustLock(t, l, "name")
	s.Kill()
	start := time.Now()

	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if _, err := l.Acquire(ctx, "other"); !isOutOfReach(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Acquire = %v, want ErrUnavailable and DeadlineExceeded", err)
	}
	if took := time.Since(start); took > 400*time.Millisecond+lockSlack {
		t.Errorf("Acquire took %v, with 400ms to do it", took)
	}
	start = time.Now()
	if _, err := l.TryAcquire(t.Context(), "other"); !errors.Is(err, fanfare.ErrUnavailable) {
		t.Errorf("TryAcquire = %v, want ErrUnavailable", err)
	}
	if took := time.Since(start); took > lockSlack {
		t.Errorf("TryAcquire took %v", took)
	}
	mustLose(t, lock, lockTTL)
	if err := lock.Unlock(t.Context()); !isOutOfReach(err) {
		t.Errorf("Unlock = %v, want ErrUnavailable", err)
	}
	start = time.Now()
	if _, err := l.Acquire(t.Context(), "other"); !isOutOfReach(err) {
		t.Errorf("Acquire = %v, want ErrUnavailable", err)
	}
	if took := time.Since(start); took > lockTTL+lockSlack {
		t.Errorf("Acquire took %v, want at most one TTL", took)
	}
}

func isOutOfReach(err error) bool {
	return errors.Is(err, fanfare.ErrUnavailable) || errors.Is(err, fanfare.ErrUnknownOutcome)
}

func TestLockWhileServerIsSilent(t *testing.T) {
	t.Parallel()
	s, c := lockServer(t)
	l := newLocker(t, c, fanfare.LockTTL(keepLock))
	lock := mustLock(t, l, "name")
	s.Pause()
	start := time.Now()
	if _, err := l.TryAcquire(t.Context(), "other"); !errors.Is(err, fanfare.ErrUnknownOutcome) {
		t.Errorf("TryAcquire = %v, want ErrUnknownOutcome", err)
	}
	if took := time.Since(start); took > keepLock/3+lockSlack {
		t.Errorf("TryAcquire took %v, want a third of the TTL", took)
	}
	mustLose(t, lock, keepLock)

	// Acquire bears with it, for as long as a TTL.
	resume := time.AfterFunc(keepLock/2, s.Resume)
	defer resume.Stop()
	again := mustLock(t, l, "name")
	if again.Fence() <= lock.Fence() {
		t.Errorf("fence = %d, want more than %d", again.Fence(), lock.Fence())
	}
	if err := lock.Unlock(t.Context()); !errors.Is(err, fanfare.ErrLockLost) {
		t.Errorf("Unlock of the old one = %v, want ErrLockLost", err)
	}
	mustBeLocked(t, l, "name")
	mustUnlock(t, again)
}

func TestLockAndRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		args  []string
		keeps bool
	}{
		{"forgets", nil, false},
		{"remembers", []string{"--appendonly", "yes", "--appendfsync", "always"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := lockServer(t, tt.args...)
			l := newLocker(t, c, fanfare.LockTTL(3*time.Second))
			lock := mustLock(t, l, "name")
			s.Kill()
			var waiting sync.WaitGroup
			waiting.Go(func() {
				other, err := l.Acquire(t.Context(), "other")
				if err != nil {
					t.Errorf("Acquire during a restart: %v", err)
					return
				}
				mustUnlock(t, other)
			})
			<-time.After(300 * time.Millisecond) // of an outage
			s.Restart()
			waiting.Wait()
			if tt.keeps {
				select {
				case <-lock.Context().Done():
					t.Errorf("context ended: %v", context.Cause(lock.Context()))
				case <-time.After(4 * time.Second):
				}
				mustBeLocked(t, l, "name")
				mustUnlock(t, lock)
				return
			}
			mustLose(t, lock, time.Second)
			again := mustLock(t, l, "name")
			if again.Fence() <= lock.Fence() {
				t.Errorf("fence = %d, want more than %d", again.Fence(), lock.Fence())
			}
			mustUnlock(t, again)
		})
	}
}

func TestFencesGrow(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c)
	last := int64(0)
	next := func() {
		lock := mustLock(t, l, "name")
		if lock.Fence() <= last {
			t.Errorf("fence %d after %d", lock.Fence(), last)
		}
		last = lock.Fence()
		mustUnlock(t, lock)
	}
	for range 100 {
		next()
	}
	lockDo(t, c, "FLUSHALL")
	next()

	// A server whose clock was set back counts on from where it was.
	key := lockKeys(t, c, ":fence")[0]
	if ttl := lockDo(t, c, "PTTL", key); ttl != int64(-1) {
		t.Errorf("the fence expires in %v ms, want never", ttl)
	}
	last += int64(time.Hour / time.Microsecond)
	lockDo(t, c, "SET", key, last)
	want := last + 2
	next()
	next()
	if last != want {
		t.Errorf("fence = %d, want %d", last, want)
	}

	lockDo(t, c, "SET", key, "garbage")
	var refused fanfare.RedisError
	start := time.Now()
	if _, err := l.Acquire(t.Context(), "name"); !errors.As(err, &refused) {
		t.Errorf("Acquire with a broken fence = %v, want a RedisError", err)
	}
	if took := time.Since(start); took > lockSlack {
		t.Errorf("Acquire took %v to be refused, want it at once", took)
	}
	if keys := lockKeys(t, c, ":holder"); len(keys) > 0 {
		t.Errorf("Acquire with a broken fence left %v", keys)
	}
}

func TestLockRefused(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c, fanfare.LockTTL(keepLock))
	lock := mustLock(t, l, "name")
	lockDo(t, c, "CONFIG", "SET", "maxmemory", "1")
	if _, err := l.Acquire(t.Context(), "other"); !errors.Is(err, fanfare.ErrBackendFull) {
		t.Errorf("Acquire on a full server = %v, want ErrBackendFull", err)
	}
	select {
	case <-lock.Context().Done():
		t.Errorf("context ended on a full server: %v", context.Cause(lock.Context()))
	case <-time.After(3 * keepLock / 2):
	}
	mustUnlock(t, lock)
	lockDo(t, c, "CONFIG", "SET", "maxmemory", "0")

	lockDo(t, c, "REPLICAOF", "127.0.0.1", "1")
	if _, err := l.TryAcquire(t.Context(), "other"); !errors.Is(err, fanfare.ErrReadOnly) || !errors.Is(err, fanfare.ErrUnavailable) {
		t.Errorf("TryAcquire on a replica = %v, want ErrReadOnly", err)
	}
}

// lockHanging is a client whose calls ignore their contexts until a
// channel is closed: before they do anything, or before they answer.
type lockHanging struct {
	fanfare.RedisClient
	before, after atomic.Pointer[chan struct{}]
}

func (c *lockHanging) Do(ctx context.Context, args ...any) (any, error) {
	if hang := c.before.Load(); hang != nil {
		<-*hang
	}
	reply, err := c.RedisClient.Do(ctx, args...)
	if hang := c.after.Load(); hang != nil {
		<-*hang
	}
	return reply, err
}

func TestLockWithHangingClient(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	client := &lockHanging{RedisClient: c}
	l := newLocker(t, client, fanfare.LockTTL(lockTTL))
	lock := mustLock(t, l, "name")
	hang := make(chan struct{})
	client.before.Store(&hang)
	mustLose(t, lock, lockTTL)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := lock.Unlock(ctx); !errors.Is(err, fanfare.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Unlock = %v, want ErrUnavailable and DeadlineExceeded", err)
	}
	close(hang)
	if err := lock.Unlock(t.Context()); err != nil && !errors.Is(err, fanfare.ErrLockLost) {
		t.Errorf("Unlock = %v, want nil or ErrLockLost", err)
	}
}

// TestLateLock has a lock whose time is over when the answer comes: as good as
// no lock.
func TestLateLock(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	client := &lockHanging{RedisClient: c}
	l := newLocker(t, client, fanfare.LockTTL(lockTTL))
	mustBeFree(t, l, "name") // the server knows the script from here
	hang := make(chan struct{})
	client.after.Store(&hang)
	time.AfterFunc(lockTTL-lockTTL/20, func() { close(hang) })
	if lock, err := l.TryAcquire(t.Context(), "name"); !errors.Is(err, fanfare.ErrUnavailable) {
		t.Errorf("TryAcquire = %v, %v, want ErrUnavailable", lock, err)
	}
	if keys := lockKeys(t, c, ":holder"); len(keys) > 0 {
		t.Errorf("keys %v are left", keys)
	}
}

// TestAcquireEndsInCall has a context that ends while a call waits for its
// answer: the answer before it was that somebody else holds the lock.
func TestAcquireEndsInCall(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	mustLock(t, newLocker(t, c), "name")
	for _, tt := range []struct {
		name string
		end  func(*lockDeadline)
		want error
		also error
	}{
		{"canceled", func(c *lockDeadline) { c.cancel() }, fanfare.ErrLocked, context.Canceled},
		{"deadline", func(c *lockDeadline) { c.passed.Store(true) }, fanfare.ErrLocked, context.DeadlineExceeded},
		{"failure before", func(c *lockDeadline) { time.AfterFunc(time.Millisecond, c.cancel) }, fanfare.ErrUnavailable, context.Canceled},
	} {
		ctx := &lockDeadline{}
		ctx.Context, ctx.cancel = context.WithCancel(t.Context())
		calls := 0
		client := lockClient(func(call context.Context, args ...any) (any, error) {
			if calls++; calls != 3 {
				return c.Do(context.WithoutCancel(call), args...)
			}
			tt.end(ctx)
			return nil, errors.New("i/o timeout")
		})
		mustBeLocked(t, newLocker(t, c), "name") // the server knows the script from here
		_, err := newLocker(t, client).Acquire(ctx, "name")
		ctx.cancel()
		if !errors.Is(err, tt.want) || !errors.Is(err, tt.also) {
			t.Errorf("%s: Acquire = %v, want %v and %v", tt.name, err, tt.want, tt.also)
		}
	}
}

// lockDeadline is a context whose deadline may pass before its timer is served.
type lockDeadline struct {
	context.Context
	cancel context.CancelFunc
	passed atomic.Bool
}

func (c *lockDeadline) Deadline() (time.Time, bool) {
	return time.Now(), c.passed.Load()
}

// lockClient is a client that can only Do.
type lockClient func(ctx context.Context, args ...any) (any, error)

func (c lockClient) Do(ctx context.Context, args ...any) (any, error) { return c(ctx, args...) }

func (c lockClient) Pipeline(context.Context, [][]any) ([]any, error) {
	return nil, errors.ErrUnsupported
}

func (c lockClient) Close() error { return nil }
