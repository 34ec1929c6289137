package testsvc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanDir); dir != "" {
		abandonRedis(dir)
	}
	os.Exit(Run(m, func() error { return goleak.Find() }))
}

func TestRedisIsShared(t *testing.T) {
	t.Setenv(redisURL, "")
	s := Redis(t)
	if got := ask(t, s.Addr, "PING"); got != "+PONG" {
		t.Errorf("PING = %q, want +PONG", got)
	}
	if want := "redis://" + s.Addr + "/0"; s.URL != want {
		t.Errorf("URL = %q, want %q", s.URL, want)
	}
	if again := Redis(t); again != s {
		t.Errorf("Redis started a second server at %s, want the one at %s", again.Addr, s.Addr)
	}
	if private := StartRedis(t); private.Addr == s.Addr {
		t.Errorf("StartRedis gave the shared server")
	}

	defer func() {
		if recover() == nil {
			t.Error("Kill of the shared server did not panic")
		}
	}()
	s.Kill()
}

func TestRedisURL(t *testing.T) {
	for _, tt := range []struct{ url, addr string }{
		{"redis://cache.example:7000/3", "cache.example:7000"},
		{"rediss://user:secret@cache.example", "cache.example:6379"},
		{"redis://[::1]", "[::1]:6379"},
	} {
		t.Setenv(redisURL, tt.url)
		if s := Redis(t); s.Addr != tt.addr || s.URL != tt.url {
			t.Errorf("with %s: Redis = %s, %s, want %s", tt.url, s.Addr, s.URL, tt.addr)
		}
	}
	for _, raw := range []string{"localhost:6379", "redis://:7000", "redis://[::1"} {
		if s, err := foreign(raw, "6379"); err == nil {
			t.Errorf("foreign(%q) = %s, want an error", raw, s.Addr)
		}
	}
}

func TestRestartKeepsWhatWasSaved(t *testing.T) {
	s := StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	addr := s.Addr
	ends := []struct {
		name string
		end  func()
	}{
		{"Kill", s.Kill},
		{"Stop", s.Stop},
		{"Pause and Stop", func() { s.Pause(); s.Stop() }},
		{"Stop after Kill", func() { s.Kill(); s.Stop() }},
	}
	for i, e := range ends {
		if got, want := ask(t, addr, "INCR runs"), fmt.Sprintf(":%d", i+1); got != want {
			t.Fatalf("before %s: INCR = %q, want %q", e.name, got, want)
		}
		e.end()
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Fatalf("%s accepts connections after %s", addr, e.name)
		}
		s.Restart()
		if s.Addr != addr {
			t.Fatalf("Addr = %s after Restart, want %s", s.Addr, addr)
		}
	}
}

func TestPauseAndResume(t *testing.T) {
	s := StartRedis(t)
	s.Pause()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, len("+PONG"))
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := conn.Read(reply); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from a paused server = %q, %v, want a timeout", reply[:n], err)
	}
	s.Resume()
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != "+PONG" {
		t.Errorf("read after Resume = %q, %v, want +PONG", reply, err)
	}
}

func TestEarlyEndShowsOutput(t *testing.T) {
	needRedis(t)
	_, err := start(redis, t.TempDir(), []string{"--no-such-setting", "1"})
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("start with a bad argument: %v, want what redis-server says of it", err)
	}
}

// TestTakenPort holds that a server is not taken for ready because another one
// answers on its port.
func TestTakenPort(t *testing.T) {
	s := StartRedis(t)
	if err := redisReady(s.Addr, s.proc.cmd.Process.Pid+1); err == nil {
		t.Errorf("redisReady(%s) = nil for a process that is not there", s.Addr)
	}
}

// TestMissingServer runs a test of this package without PATH.
func TestMissingServer(t *testing.T) {
	const message = "SKIP-BACKEND redis: redis-server not installed (apt-get install redis-server)"
	for _, tt := range []struct {
		env  string
		want string
	}{
		{"CI=", "--- SKIP"},
		{"CI=true", "--- FAIL"},
		{"FANFARE_TEST_REQUIRE=all", "--- FAIL"},
	} {
		for _, test := range []string{"TestRedisIsShared", "TestPauseAndResume"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+test+"$")
			cmd.Env = append(os.Environ(), "PATH=", "CI=", "FANFARE_TEST_REQUIRE=", tt.env)
			out, err := cmd.CombinedOutput()
			if failed := err != nil; failed != (tt.want == "--- FAIL") {
				t.Errorf("%s %s ends with %v, want %s", tt.env, test, err, tt.want)
			}
			if !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), message) {
				t.Errorf("%s %s prints\n%s\nwant %s and %s", tt.env, test, out, tt.want, message)
			}
		}
	}
}

func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(redis.binary); err != nil {
		redis.giveUp(t, err)
	}
}

// ask sends a command to the server at addr and returns the first line of the
// reply.
func ask(t *testing.T, addr, command string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
