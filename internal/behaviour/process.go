package behaviour

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// The tests of this file kill processes. A child is the test binary again, with
// its role in the environment.

// childTopic names the environment variable of the topic that a child consumes.
const childTopic = "FANFARE_TEST_CHILD_TOPIC"

const childLease = 2 * time.Second

// RunProcesses runs the tests that kill, freeze and terminate processes on each
// opener, one after the other, since they measure time. The openers are durable
// and have an Env.
func RunProcesses(t *testing.T, openers ...Opener) {
	for _, test := range processes {
		t.Run(test.name, func(t *testing.T) {
			for _, o := range openers {
				t.Run(o.Name, func(t *testing.T) { test.run(t, o.start(t)) })
			}
		})
	}
}

var processes = []test{
	{"TestEventOfAKilledProcessRunsAgain", testEventOfAKilledProcessRunsAgain},
	{"TestFrozenProcessIsOvertakenAndRefused", testFrozenProcessIsOvertakenAndRefused},
	{"TestTerminatedProcessFinishesOrGivesBack", testTerminatedProcessFinishesOrGivesBack},
	{"TestEventOfAProcessKilledInItsStopRunsAgain", testEventOfAProcessKilledInItsStopRunsAgain},
}

// IsChild reports whether RunProcesses started this process: TestMain then calls
// RunChild and no test.
//
//	if behaviour.IsChild() {
//		os.Exit(behaviour.RunChild(open))
//	}
func IsChild() bool { return os.Getenv(childTopic) != "" }

// RunChild consumes on the dispatcher that open opens on the backend named by
// the environment, see [Backend].Env, until the process is told to end. It
// returns what TestMain passes to os.Exit.
//
// It prints "ready", and the payload of each event that it starts. Events named
// "long" take for ever, unless their context ends, and those named "poison" end
// the process.
func RunChild(open func(opts ...fanfare.Option) (*fanfare.Durable, error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d, err := open(fanfare.WithLease(childLease))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_, err = fanfare.NewTopic[string](os.Getenv(childTopic)).Register(ctx, d, func(ctx context.Context, what string) error {
		fmt.Println(what)
		if strings.HasPrefix(what, "poison") {
			os.Exit(3)
		}
		wait := 300 * time.Millisecond
		if strings.HasPrefix(what, "long") {
			wait = time.Hour
		}
		select {
		case <-time.After(wait):
			fmt.Println("done", what)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var left *fanfare.StopError
	if err := d.Stop(drain); errors.As(err, &left) {
		fmt.Println("released", left.Released)
	}
	return 0
}

// child is a consuming process.
type child struct {
	*exec.Cmd
	lines chan string
}

func startChild(t *testing.T, env []string, topic string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], "-test.run=^$"), lines: make(chan string, 100)}
	c.Env = append(append(os.Environ(), env...), childTopic+"="+topic)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	go func() { // the clean-up waits for it
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		for range c.lines { // ends with the process
		}
	})
	c.expect(t, "ready")
	return c
}

// expect waits for a line of the child.
func (c *child) expect(t *testing.T, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-c.lines:
			require.True(t, ok, "child ended before %q", want)
			if line == want {
				return
			}
		case <-late:
			t.Fatalf("no %q from the child in 20s", want)
		}
	}
}

// process is what the tests need: a topic, a dispatcher, and a child that
// consumes the topic.
func process(t *testing.T, o opener) (fanfare.Topic[string], *fanfare.Durable, *child) {
	t.Helper()
	require.NotEmpty(t, o.Env, "a backend that processes share has an Env")
	topic := fanfare.NewTopic[string](t.Name())
	return topic, o.openDurable(t, fanfare.WithLease(childLease)), startChild(t, o.Env, topic.Name())
}

// takeOver registers a handler that notes what it gets.
func takeOver(t *testing.T, topic fanfare.Topic[string], d *fanfare.Durable) *Received[fanfare.Delivery] {
	t.Helper()
	got := NewReceived[fanfare.Delivery]()
	_, err := topic.Register(t.Context(), d, func(ctx context.Context, _ string) error {
		info, _ := fanfare.DeliveryFrom(ctx)
		got.Add(info)
		return nil
	})
	require.NoError(t, err)
	return got
}

func testEventOfAKilledProcessRunsAgain(t *testing.T, o opener) {
	topic, d, c := process(t, o)
	require.NoError(t, topic.Dispatch(t.Context(), d, "long", fanfare.ID("orphan"), fanfare.High, fanfare.Header("k", "v")))
	c.expect(t, "long")
	got := takeOver(t, topic, d)
	require.NoError(t, c.Process.Kill())
	killed := time.Now()
	info := got.Wait(t, 1)[0]
	require.LessOrEqual(t, time.Since(killed), childLease+time.Second)
	require.Equal(t, "orphan", info.ID)
	require.Equal(t, 2, info.Attempt)
	require.Equal(t, map[string]string{"k": "v"}, info.Headers)
	Eventually(t, func() bool { return d.Stats().Handled == 1 }, "handled")
	_, err := d.Get(t.Context(), topic.Name(), "orphan")
	require.ErrorIs(t, err, fanfare.ErrNotFound)
}

func testFrozenProcessIsOvertakenAndRefused(t *testing.T, o opener) {
	topic, d, c := process(t, o)
	require.NoError(t, topic.Dispatch(t.Context(), d, "short"))
	c.expect(t, "short")
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	got := takeOver(t, topic, d)
	require.Equal(t, 2, got.Wait(t, 1)[0].Attempt)
	Eventually(t, func() bool { return d.Stats().Handled == 1 }, "handled")
	require.NoError(t, c.Process.Signal(syscall.SIGCONT))
	require.NoError(t, topic.Dispatch(t.Context(), d, "next")) // both consumers go on
	Eventually(t, func() bool {
		s, err := d.Status(t.Context(), topic.Name())
		return err == nil && s[0].Ready+s[0].Running+s[0].Delayed+s[0].Dead == 0
	}, "all done")
}

func testTerminatedProcessFinishesOrGivesBack(t *testing.T, o opener) {
	topic, d, c := process(t, o)
	require.NoError(t, topic.Dispatch(t.Context(), d, "long"))
	c.expect(t, "long")
	require.NoError(t, topic.Dispatch(t.Context(), d, "short"))
	c.expect(t, "short")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	terminated := time.Now()
	c.expect(t, "done short")
	got := takeOver(t, topic, d)
	c.expect(t, "released 1")
	info := got.Wait(t, 1)[0]
	require.Less(t, time.Since(terminated), childLease, "given back, not left to its lease")
	require.Equal(t, 1, info.Attempt, "no attempt is counted")
	stays(t, 100*time.Millisecond, func() bool { return len(got.All()) == 1 }, "the short one was finished")
}

// An orchestrator sends SIGTERM, and SIGKILL when its patience ends before that
// of Stop.
func testEventOfAProcessKilledInItsStopRunsAgain(t *testing.T, o opener) {
	topic, d, c := process(t, o)
	require.NoError(t, topic.Dispatch(t.Context(), d, "long"))
	c.expect(t, "long")
	require.NoError(t, topic.Dispatch(t.Context(), d, "short"))
	c.expect(t, "short")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	c.expect(t, "done short") // in its Stop, which waits for the long one
	got := takeOver(t, topic, d)
	require.NoError(t, c.Process.Kill())
	killed := time.Now()
	info := got.Wait(t, 1)[0]
	require.LessOrEqual(t, time.Since(killed), childLease+time.Second)
	require.Equal(t, 2, info.Attempt)
	Eventually(t, func() bool { return d.Stats().Handled >= 1 }, "handled")
	Eventually(t, func() bool {
		s, err := d.Status(t.Context(), topic.Name())
		return err == nil && s[0].Ready+s[0].Running+s[0].Delayed+s[0].Dead == 0
	}, "nothing is left")
}
