package testsvc

import (
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
	if name := os.Getenv(orphanOf); name != "" {
		abandon(name)
	}
	os.Exit(Run(m, func() error { return goleak.Find() }))
}

func TestShared(t *testing.T) {
	each(t, func(t *testing.T, svc service) {
		t.Setenv(svc.variable(), "")
		s := svc.shared(t)
		if svc.runs(t, s) == "" {
			t.Error("the server does not count")
		}
		if want := svc.before + s.Addr + svc.after; s.URL != want {
			t.Errorf("URL = %q, want %q", s.URL, want)
		}
		if again := svc.shared(t); again != s {
			t.Errorf("a second server runs at %s, want the one at %s", again.Addr, s.Addr)
		}

		defer func() {
			if recover() == nil {
				t.Error("Kill of the shared server did not panic")
			}
		}()
		s.Kill()
	})
}

// TestRestart holds that what is committed survives each way to end a server,
// and that a private server is not the shared one.
func TestRestart(t *testing.T) {
	each(t, func(t *testing.T, svc service) {
		s := svc.private(t, svc.durable...)
		addr := s.Addr
		ends := []struct {
			name string
			end  func()
		}{
			{"Kill", s.Kill},
			{"Stop", s.Stop},
			{"Pause and Stop", func() { s.Pause(); s.Stop() }},
			{"Pause and Kill", func() { s.Pause(); s.Kill() }},
			{"Stop after Kill", func() { s.Kill(); s.Stop() }},
		}
		for i, e := range ends {
			if got, want := svc.runs(t, s), fmt.Sprint(i+1); got != want {
				t.Fatalf("before %s: runs = %s, want %s", e.name, got, want)
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
		s.Kill() // the test ends with a server that was killed
	})
}

func TestPause(t *testing.T) {
	each(t, func(t *testing.T, svc service) {
		s := svc.private(t)
		s.Pause()
		conn := dial(t, s, svc.hello)
		awaitNothing(t, conn)
		s.Resume()
		await(t, conn, svc.reply)
	})
}

func dial(t *testing.T, s *Server, hello string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	write(t, conn, hello)
	return conn
}

func write(t *testing.T, conn net.Conn, message string) {
	t.Helper()
	if _, err := io.WriteString(conn, message); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, max(1, len(want)))
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(conn, got); err != nil || !strings.HasPrefix(string(got), want) {
		t.Errorf("read = %q, %v, want %q", got, err, want)
	}
}

func awaitNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	var got [1]byte
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := conn.Read(got[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from a paused server = %q, %v, want a timeout", got[:n], err)
	}
}

func TestEarlyEndShowsOutput(t *testing.T) {
	for _, tt := range []struct {
		kind kind
		args []string
	}{
		{redis, []string{"--nosuchsetting", "1"}},
		{mariadb, []string{"--nosuchsetting=1"}},
		{postgres, []string{"-c", "nosuchsetting=1"}},
	} {
		t.Run(tt.kind.name, func(t *testing.T) {
			service{kind: tt.kind}.need(t)
			_, err := start(tt.kind, tt.args)
			if err == nil || !strings.Contains(err.Error(), "nosuchsetting") {
				t.Errorf("start with a bad argument: %v, want what %s says of it", err, tt.kind.binary)
			}
		})
	}
}

// TestTakenPort holds that a server is not taken for ready because another one
// answers on its port.
func TestTakenPort(t *testing.T) {
	each(t, func(t *testing.T, svc service) {
		t.Setenv(svc.variable(), "")
		s := svc.shared(t)
		if err := s.kind.ready(s.Addr, s.Dir, s.proc.pid()); err != nil {
			t.Errorf("ready(%s) = %v", s.Addr, err)
		}
		if err := s.kind.ready(s.Addr, s.Dir, s.proc.pid()+1); err == nil {
			t.Errorf("ready(%s) = nil for a process that is not there", s.Addr)
		}
	})
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
		for _, test := range []string{"TestShared", "TestPause"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+test+"$/^redis$")
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

// TestFind looks in the directories of a kind for what is not in PATH.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	k := kind{binary: "fanfare-no-such-server", dirs: func() []string { return []string{t.TempDir(), dir} }}
	if path, err := k.find(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("find = %s, %v, want %v", path, err, exec.ErrNotFound)
	}
	want := dir + "/" + k.binary
	if err := os.WriteFile(want, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err := k.find(); path != want || err != nil {
		t.Errorf("find = %s, %v, want %s", path, err, want)
	}
}
