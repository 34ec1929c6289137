// Package testsvc gives tests real servers: private processes on free loopback
// ports with all their state in a temporary directory. A server dies with the
// test binary that started it, even (on Linux) when that binary is killed.
//
// A server is shared by the tests of one test binary, or private to one test
// that kills, pauses or configures it. Tests that share a server keep apart by
// the names they use, never by a restart.
//
// Where a server is not installed, the test that asks for it is skipped with
// the cure in the message. With CI=true or FANFARE_TEST_REQUIRE=all it fails
// instead, so that no green run hides a missing server.
//
// The package is for Unix.
package testsvc

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// redisURL names the environment variable that replaces the shared Redis.
const redisURL = "FANFARE_TEST_REDIS_URL"

// Redis returns the Redis shared by all tests of this test binary, and starts
// it at first use. A package that calls it ends its TestMain with Run. When
// FANFARE_TEST_REDIS_URL is set, the server it names is taken instead; that
// one has an Addr and a URL, but no Dir.
func Redis(tb testing.TB) *Server {
	tb.Helper()
	if raw := os.Getenv(redisURL); raw != "" {
		s, err := foreign(raw, "6379")
		if err != nil {
			tb.Fatalf("testsvc: %s: %v", redisURL, err)
		}
		return s
	}
	s, err := sharedRedis.get()
	if err != nil {
		redis.giveUp(tb, err)
	}
	return s
}

// StartRedis starts a Redis for the calling test alone, which ends with the
// test. It persists nothing unless args, which are added to the command line
// of redis-server, say so: "--appendonly", "yes".
func StartRedis(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s, err := start(redis, tb.TempDir(), args)
	if err != nil {
		redis.giveUp(tb, err)
	}
	s.tb = tb
	tb.Cleanup(func() { s.proc.stop() })
	return s
}

// Run runs the tests of m, stops the shared servers, and then, if the tests
// passed, calls each of checks. It returns what TestMain passes to os.Exit: the
// code of m, or 1 after an error of a check, which it prints. Checks see no
// goroutine of this package:
//
//	func TestMain(m *testing.M) {
//		os.Exit(testsvc.Run(m, func() error { return goleak.Find() }))
//	}
func Run(m *testing.M, checks ...func() error) int {
	code := m.Run()
	sharedRedis.stop()
	if code != 0 {
		return code
	}
	for _, check := range checks {
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, "after the tests:", err)
			code = 1
		}
	}
	return code
}

var sharedRedis = shared{kind: redis}

// shared is a server that is started when it is first asked for.
type shared struct {
	kind kind

	once   sync.Once
	server *Server
	err    error
}

func (s *shared) get() (*Server, error) {
	s.once.Do(func() {
		dir, err := os.MkdirTemp("", "fanfare-"+s.kind.name+"-")
		if err != nil {
			s.err = err
			return
		}
		if s.server, s.err = start(s.kind, dir, nil); s.err != nil {
			os.RemoveAll(dir)
		}
	})
	return s.server, s.err
}

// stop ends the server if it was ever started; it is not started after that.
func (s *shared) stop() {
	s.once.Do(func() { s.err = errors.New("asked for after the tests ended") })
	if s.server == nil {
		return
	}
	s.server.proc.stop()
	os.RemoveAll(s.server.Dir)
}

// foreign is a server that someone else runs, at port unless raw has one.
func foreign(raw, port string) (*Server, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("no host in %q", raw)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return &Server{Addr: net.JoinHostPort(u.Hostname(), port), URL: raw}, nil
}

// giveUp ends a test whose server did not start: it skips the test if all that
// is wrong is a server that need not be installed.
func (k kind) giveUp(tb testing.TB, err error) {
	tb.Helper()
	if !errors.Is(err, exec.ErrNotFound) {
		tb.Fatalf("testsvc: %s: %v", k.name, err)
	}
	missing := fmt.Sprintf("SKIP-BACKEND %s: %s not installed (apt-get install %s)", k.name, k.binary, k.debian)
	if os.Getenv("CI") == "true" || os.Getenv("FANFARE_TEST_REQUIRE") == "all" {
		tb.Fatal(missing)
	}
	tb.Skip(missing)
}
