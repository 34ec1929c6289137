package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// lockSlack is what a busy machine may add to the times that are promised.
const lockSlack = time.Second

// TTLs for tests in which locks are lost, and for those in which they must not
// be: a busy machine may halt the test for some of a second.
const (
	lockTTL  = time.Second
	keepLock = 2 * time.Second
)

// lockServer starts a server and connects to it.
func lockServer(t *testing.T, args ...string) (*testsvc.Server, fanfare.RedisClient) {
	t.Helper()
	s := testsvc.StartRedis(t, args...)
	return s, lockDial(t, s.Addr)
}

func lockDial(t *testing.T, addr string) fanfare.RedisClient {
	t.Helper()
	c, err := fanfare.DialRedis(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newLocker(t *testing.T, c fanfare.RedisClient, opts ...fanfare.LockerOption) fanfare.Locker {
	t.Helper()
	l, err := fanfare.NewRedisLocker(c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// mustLock acquires a lock and unlocks it after the test.
func mustLock(t *testing.T, l fanfare.Locker, name string) fanfare.Lock {
	t.Helper()
	lock, err := l.Acquire(t.Context(), name)
	if err != nil {
		t.Fatalf("Acquire(%q): %v", name, err)
	}
	t.Cleanup(func() { _ = lock.Unlock(context.Background()) })
	return lock
}

func mustUnlock(t *testing.T, l fanfare.Lock) {
	t.Helper()
	if err := l.Unlock(t.Context()); err != nil {
		t.Errorf("Unlock: %v", err)
	}
}

// mustBeLocked fails the test unless somebody holds the lock.
func mustBeLocked(t *testing.T, l fanfare.Locker, name string) {
	t.Helper()
	lock, err := l.TryAcquire(t.Context(), name)
	if !errors.Is(err, fanfare.ErrLocked) {
		t.Errorf("TryAcquire(%q) = %v, want ErrLocked", name, err)
	}
	if err == nil {
		mustUnlock(t, lock)
	}
}

// mustBeFree fails the test if somebody holds the lock.
func mustBeFree(t *testing.T, l fanfare.Locker, name string) {
	t.Helper()
	lock, err := l.TryAcquire(t.Context(), name)
	if err != nil {
		t.Errorf("TryAcquire(%q) = %v, want the lock", name, err)
		return
	}
	mustUnlock(t, lock)
}

// mustLose waits until the lock's context ends because the lock is lost, within
// the time that is promised.
func mustLose(t *testing.T, l fanfare.Lock, within time.Duration) {
	t.Helper()
	select {
	case <-l.Context().Done():
		if err := context.Cause(l.Context()); err != fanfare.ErrLockLost {
			t.Errorf("cause of the context = %v, want ErrLockLost", err)
		}
	case <-time.After(within + lockSlack):
		t.Errorf("context of a lost lock goes on after %v", within)
	}
}

func lockDo(t *testing.T, c fanfare.RedisClient, args ...any) any {
	t.Helper()
	reply, err := c.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// lockKeys returns the keys that end like this.
func lockKeys(t *testing.T, c fanfare.RedisClient, end string) []string {
	t.Helper()
	var keys []string
	all, _ := lockDo(t, c, "KEYS", "*").([]any)
	for _, k := range all {
		if s := fmt.Sprintf("%s", k); strings.HasSuffix(s, end) {
			keys = append(keys, s)
		}
	}
	return keys
}

func TestLockIsKept(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c, fanfare.LockTTL(keepLock))
	lock := mustLock(t, l, "name")
	lockDo(t, c, "SCRIPT", "FLUSH") // a server forgets scripts at any time
	select {
	case <-lock.Context().Done():
		t.Errorf("context ended: %v", context.Cause(lock.Context()))
	case <-time.After(3 * keepLock / 2):
	}
	mustBeLocked(t, l, "name")
	mustUnlock(t, lock)
	mustBeFree(t, l, "name")
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c)
	lock := mustLock(t, l, "name")
	mustBeLocked(t, l, "name")
	mustBeFree(t, l, "other name")
	var unlocking sync.WaitGroup
	for range 4 {
		unlocking.Go(func() { mustUnlock(t, lock) })
	}
	unlocking.Wait()
	if err := context.Cause(lock.Context()); err != context.Canceled {
		t.Errorf("cause of the context after Unlock = %v, want context.Canceled", err)
	}

	next := mustLock(t, l, "name")
	mustUnlock(t, lock)
	mustBeLocked(t, l, "name")
	if err := next.Unlock(next.Context()); err != nil {
		t.Errorf("Unlock with the context of the lock: %v", err)
	}
	if keys := lockKeys(t, c, ":holder"); len(keys) > 0 {
		t.Errorf("keys %v are left", keys)
	}
}

func TestLockContext(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c, fanfare.LockTTL(keepLock))
	type key struct{}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
	lock, err := l.TryAcquire(ctx, "name")
	if err != nil {
		t.Fatal(err)
	}
	if v := lock.Context().Value(key{}); v != "value" {
		t.Errorf("value of the context = %v, want that of its parent", v)
	}

	cancel(why)
	<-lock.Context().Done()
	if err := context.Cause(lock.Context()); err != why {
		t.Errorf("cause of the context = %v, want that of its parent", err)
	}
	<-time.After(3 * keepLock / 2) // it is renewed all the same
	mustBeLocked(t, l, "name")
	if err := lock.Unlock(ctx); err != nil {
		t.Errorf("Unlock with a context that has ended: %v", err)
	}
	mustBeFree(t, l, "name")
}

func TestAcquireEnds(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c)
	mustLock(t, l, "name")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	brief, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		l    fanfare.Locker
		want []error
		not  error
	}{
		{"canceled", ended, l, []error{context.Canceled, fanfare.ErrUnavailable}, nil},
		{"no time", brief, l, []error{context.DeadlineExceeded}, nil},
		{"deadline", soon, l, []error{context.DeadlineExceeded, fanfare.ErrLocked}, nil},
		{"LockWait", t.Context(), newLocker(t, c, fanfare.LockWait(300*time.Millisecond)), []error{fanfare.ErrLocked}, context.DeadlineExceeded},
	} {
		start := time.Now()
		_, err := tt.l.Acquire(tt.ctx, "name")
		if took := time.Since(start); took > 300*time.Millisecond+lockSlack {
			t.Errorf("%s: Acquire took %v", tt.name, took)
		}
		for _, want := range tt.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: Acquire = %v, want one that matches %v", tt.name, err, want)
			}
		}
		if tt.not != nil && errors.Is(err, tt.not) {
			t.Errorf("%s: Acquire = %v, want none that matches %v", tt.name, err, tt.not)
		}
	}
}

// TestAcquireCanceled cancels in the middle of waits and calls: what comes of
// it, the name is free at once.
func TestAcquireCanceled(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c)
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
		lock, err := l.Acquire(ctx, "name")
		if err == nil {
			mustUnlock(t, lock)
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire = %v, want DeadlineExceeded", err)
		}
		cancel()
		mustBeFree(t, l, "name")
	}
}

func TestLockNames(t *testing.T) {
	t.Parallel()
	_, c := lockServer(t)
	l := newLocker(t, c)
	names := []string{
		"a", "A", "a ", "a+", "a%20", "a%", "%61", "a:holder", "a:fence", "a:lock:a", "{a}", "a}", "{", "}{", "*", "?",
		"\x00", "\r\n", "\n", "/", "../a", "é", "e\u0301", "🔒", "'; DROP", strings.Repeat("x", 255), strings.Repeat("\x00", 255),
	}
	var locks []fanfare.Lock
	for _, name := range names {
		lock, err := l.TryAcquire(t.Context(), name)
		if err != nil {
			t.Errorf("TryAcquire(%q): %v", name, err)
			continue
		}
		locks = append(locks, lock)
		mustBeLocked(t, l, name)
	}
	tags := map[string]int{}
	for _, key := range append(lockKeys(t, c, ":holder"), lockKeys(t, c, ":fence")...) {
		_, rest, _ := strings.Cut(key, "{")
		tag, _, _ := strings.Cut(rest, "}")
		tags[tag]++
		for _, b := range []byte(key) {
			if b <= ' ' || b > '~' {
				t.Errorf("key %q is not plain", key)
				break
			}
		}
	}
	if len(tags) != len(names) {
		t.Errorf("%d hash tags for %d names", len(tags), len(names))
	}
	for tag, n := range tags {
		if n != 2 {
			t.Errorf("%d keys with the tag %q, want 2", n, tag)
		}
	}
	mustBeFree(t, newLocker(t, c, fanfare.LockPrefix("other")), "a")
	for _, lock := range locks {
		mustUnlock(t, lock)
	}

	for _, name := range []string{"", strings.Repeat("x", 256), "\xff"} {
		if _, err := l.Acquire(t.Context(), name); !errors.Is(err, fanfare.ErrInvalid) {
			t.Errorf("Acquire(%q) = %v, want ErrInvalid", name, err)
		}
		if _, err := l.TryAcquire(t.Context(), name); !errors.Is(err, fanfare.ErrInvalid) {
			t.Errorf("TryAcquire(%q) = %v, want ErrInvalid", name, err)
		}
	}
}

func TestLockerOptions(t *testing.T) {
	c := lockDial(t, "localhost:1")
	for _, tt := range []struct {
		name string
		opt  fanfare.LockerOption
	}{
		{"nil", nil},
		{"LockTTL", fanfare.LockTTL(time.Second - 1)},
		{"LockTTL", fanfare.LockTTL(24*time.Hour + 1)},
		{"LockTTL", fanfare.LockTTL(1<<63 - 1)},
		{"LockWait", fanfare.LockWait(0)},
		{"LockPrefix", fanfare.LockPrefix("")},
	} {
		if _, err := fanfare.NewRedisLocker(c, tt.opt); !errors.Is(err, fanfare.ErrOption) || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("with a wrong %s: NewRedisLocker = %v, want ErrOption with its name", tt.name, err)
		}
	}
	if _, err := fanfare.NewRedisLocker(nil); !errors.Is(err, fanfare.ErrOption) {
		t.Errorf("NewRedisLocker(nil) = %v, want ErrOption", err)
	}
}

// TestLockOnMiniredis holds that the scripts run there too. Time stands still
// in it, so it also shows fences of one instant.
func TestLockOnMiniredis(t *testing.T) {
	t.Parallel()
	s := miniredis.RunT(t)
	s.SetTime(time.Unix(1_000_000, 0))
	c := lockDial(t, s.Addr())
	l := newLocker(t, c)
	for i := range int64(3) {
		lock := mustLock(t, l, "name")
		if want := int64(1_000_000_000_000) + i; lock.Fence() != want {
			t.Errorf("fence = %d, want %d", lock.Fence(), want)
		}
		mustBeLocked(t, l, "name")
		mustUnlock(t, lock)
	}
	lost := mustLock(t, l, "name")
	s.FastForward(20 * time.Second)
	lock := mustLock(t, l, "name")
	mustLose(t, lost, 10*time.Second/3)
	mustBeLocked(t, l, "name")
	mustUnlock(t, lock)
}
