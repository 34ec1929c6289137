package testsvc

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres returns the PostgreSQL shared by all tests of this test binary, and
// starts it at first use. Its URL is for the user postgres, who needs no
// password, and the database postgres. A package that calls it ends its TestMain
// with Run. When FANFARE_TEST_POSTGRES_URL is set, a URL or keywords, the server
// it names is taken instead; that one has an Addr and a URL, but no Dir.
func Postgres(tb testing.TB) *Server {
	tb.Helper()
	return sharedPostgres.get(tb)
}

// StartPostgres starts a PostgreSQL for the calling test alone, which ends with
// the test. What it has committed survives Kill, unless args, which are added to
// the command line of postgres, say otherwise: "-c", "synchronous_commit=off".
//
// A test binary that is killed while the server is paused leaves its stalled
// sessions behind.
func StartPostgres(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return postgres.private(tb, args)
}

var sharedPostgres = shared{kind: postgres}

var postgres = kind{
	name:     "postgres",
	binary:   "postgres",
	dirs:     postgresDirs,
	debian:   "postgresql",
	rootless: true,
	gentle:   syscall.SIGINT, // SIGTERM would wait for the clients to leave
	fast:     []string{"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"},
	prepare:  postgresPrepare,
	args: func(dir, port string) []string {
		return []string{
			"-D", postgresData(dir), "-p", port, "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=", "-c", "max_connections=200",
			"-c", "dynamic_shared_memory_type=mmap", // in the data directory, where it goes with Dir
		}
	},
	url:     func(addr string) string { return "postgres://postgres@" + addr + "/postgres?sslmode=disable" },
	foreign: foreignPostgres,
	ready:   postgresReady,
	sweep:   postgresSweep,
}

func postgresData(dir string) string { return filepath.Join(dir, "data") }

// postgresDirs returns where Debian keeps the servers, outside of PATH, the
// highest version first.
func postgresDirs() []string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(postgresVersion(b), postgresVersion(a)) })
	return dirs
}

func postgresVersion(dir string) float64 {
	v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(dir)), 64)
	return v
}

func postgresPrepare(s *Server) error {
	path, err := filepath.EvalSymlinks(s.path) // the link may be alone, initdb is beside the server
	if err != nil {
		return err
	}
	return s.run(filepath.Join(filepath.Dir(path), "initdb"), "-D", postgresData(s.Dir),
		"-U", "postgres", "-A", "trust", "-N", "--no-locale", "-E", "UTF8", "--no-instructions")
}

// postmaster returns the lines of the file in which the server tells of itself,
// and whether the file is whole.
func postmaster(dir string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(postgresData(dir), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 8 {
		return nil, errors.New("postmaster.pid is not whole yet")
	}
	return lines, nil
}

const ( // lines of postmaster.pid
	postmasterPID    = 0
	postmasterShared = 6 // key and id of its System V shared memory
	postmasterStatus = 7
)

// postgresReady asks postmaster.pid whether the process is ready, for which it
// must have the port to itself, and then the server to let the user postgres in.
func postgresReady(addr, dir string, pid int) error {
	lines, err := postmaster(dir)
	if err != nil {
		return err
	}
	who, status := lines[postmasterPID], strings.TrimSpace(lines[postmasterStatus])
	if who != fmt.Sprint(pid) || status != "ready" {
		return fmt.Errorf("process %s is %s, want %d to be ready", who, status, pid)
	}
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, postgresHello+postgresQuit); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'R' { // authentication, as opposed to an error
		return fmt.Errorf("startup = %q, want R", answer)
	}
	return nil
}

const ( // messages of protocol 3.0: their length counts itself
	postgresHello = "\x00\x00\x00\x17" + "\x00\x03\x00\x00" + "user\x00postgres\x00" + "\x00"
	postgresQuit  = "X\x00\x00\x00\x04"
)

// postgresSweep removes the shared memory of a killed server, of which a machine
// has a limited number.
func postgresSweep(dir string) error {
	lines, err := postmaster(dir)
	if err != nil {
		return nil // it ended in good order, or never began
	}
	keyAndID := strings.Fields(lines[postmasterShared])
	if len(keyAndID) != 2 {
		return nil
	}
	out, err := exec.Command("ipcrm", "-m", keyAndID[1]).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ipcrm: %w: %s", err, out)
	}
	return nil
}
