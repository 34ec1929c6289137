package fanfare_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare"
)

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	s, c := lockServer(t)
	child := startLockChild(t, s.Addr, "count")
	child.want("counting", 30*time.Second)
	countUnderLock(t, s.Addr)
	child.want("counted", 60*time.Second)
	if got, want := fmt.Sprintf("%s", lockDo(t, c, "GET", "count")), strconv.Itoa(2*lockCounters*lockRounds); got != want {
		t.Errorf("count = %s, want %s", got, want)
	}
}

const (
	lockCounters = 8
	lockRounds   = 25
)

// countUnderLock increments a counter in steps that others could come between,
// and holds that fences grow.
func countUnderLock(t *testing.T, addr string) {
	var running sync.WaitGroup
	for range lockCounters {
		c := lockDial(t, addr)
		l := newLocker(t, c)
		running.Go(func() {
			for range lockRounds {
				if err := countOnce(t.Context(), l, c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}

func countOnce(ctx context.Context, l fanfare.Locker, c fanfare.RedisClient) error {
	lock, err := l.Acquire(ctx, "count")
	if err != nil {
		return err
	}
	values := map[string]int64{}
	for _, key := range []string{"count", "greatest"} {
		reply, err := c.Do(lock.Context(), "GET", key)
		if err != nil {
			return err
		}
		if b, ok := reply.([]byte); ok {
			if values[key], err = strconv.ParseInt(string(b), 10, 64); err != nil {
				return err
			}
		}
	}
	if lock.Fence() <= values["greatest"] {
		return fmt.Errorf("fence %d after %d", lock.Fence(), values["greatest"])
	}
	if _, err := c.Do(lock.Context(), "MSET", "count", values["count"]+1, "greatest", lock.Fence()); err != nil {
		return err
	}
	return lock.Unlock(ctx)
}

func TestKilledHolder(t *testing.T) {
	t.Parallel()
	s, c := lockServer(t)
	child := startLockChild(t, s.Addr, "hold")
	old := child.fence()
	l := newLocker(t, c)
	mustBeLocked(t, l, "name")

	child.signal(syscall.SIGKILL)
	start := time.Now()
	lock := mustLock(t, l, "name")
	if took := time.Since(start); took > lockTTL+time.Second {
		t.Errorf("acquired %v after the holder was killed, want at most %v", took, lockTTL+time.Second)
	}
	if lock.Fence() <= old {
		t.Errorf("fence = %d, want more than %d", lock.Fence(), old)
	}
	mustUnlock(t, lock)
}

func TestFrozenHolder(t *testing.T) {
	t.Parallel()
	s, c := lockServer(t)
	child := startLockChild(t, s.Addr, "hold")
	old := child.fence()
	child.signal(syscall.SIGSTOP)
	l := newLocker(t, c)
	lock := mustLock(t, l, "name")
	if lock.Fence() <= old {
		t.Errorf("fence = %d, want more than %d", lock.Fence(), old)
	}

	child.signal(syscall.SIGCONT)
	child.want("context: lock lost", 10*time.Second)
	child.want("unlock name: lock lost", 10*time.Second)
	mustBeLocked(t, l, "name")
	if err := lock.Context().Err(); err != nil {
		t.Errorf("context of the new holder: %v", err)
	}
	mustUnlock(t, lock)
}

// TestLockChild is no test of its own: other tests run it in a process that
// they can kill and stop.
func TestLockChild(t *testing.T) {
	mode, addr, ok := strings.Cut(os.Getenv(lockChildEnv), " ")
	if !ok {
		return
	}
	if mode == "count" {
		fmt.Println("counting")
		countUnderLock(t, addr)
		fmt.Println("counted")
		return
	}
	lock := mustLock(t, newLocker(t, lockDial(t, addr), fanfare.LockTTL(lockTTL)), "name")
	fmt.Println("fence", lock.Fence())
	<-lock.Context().Done()
	fmt.Println("context:", context.Cause(lock.Context()))
	fmt.Println(lock.Unlock(t.Context()))
}

const lockChildEnv = "FANFARE_TEST_LOCK_CHILD"

type lockChild struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of its output; closed with it
}

func startLockChild(t *testing.T, addr, mode string) *lockChild {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockChild$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), lockChildEnv+"="+mode+" "+addr)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &lockChild{t: t, cmd: cmd, lines: make(chan string, 100)}
	go func() { // the clean-up waits for it
		defer close(c.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error means that it has ended
		for range c.lines {
		}
		_ = cmd.Wait()
	})
	return c
}

// want waits for a line of output, and returns what follows the given start.
func (c *lockChild) want(start string, within time.Duration) string {
	c.t.Helper()
	late := time.After(within)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.t.Fatalf("the child ended without a line %q", start)
			}
			if rest, ok := strings.CutPrefix(line, start); ok {
				return rest
			}
			c.t.Logf("child: %s", line)
		case <-late:
			c.t.Fatalf("no line %q of the child within %v", start, within)
		}
	}
}

func (c *lockChild) fence() int64 {
	c.t.Helper()
	n, err := strconv.ParseInt(c.want("fence ", 30*time.Second), 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *lockChild) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}
