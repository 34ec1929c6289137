package testsvc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// kind is a sort of server: all that differs between them.
type kind struct {
	name     string // in messages and variables
	binary   string // looked for in PATH, then in dirs
	dirs     func() []string
	debian   string         // package that has the binary
	rootless bool           // it refuses to run as root
	gentle   syscall.Signal // tells it to end in good order, without waiting for its clients
	fast     []string       // arguments of a shared one, which nobody kills

	// prepare fills Dir before the first start; nil if it starts on an empty one.
	prepare func(s *Server) error
	args    func(dir, port string) []string
	url     func(addr string) string
	foreign func(raw string) (addr, url string, err error)

	// ready returns nil once the process pid itself answers at addr.
	ready func(addr, dir string, pid int) error

	// sweep frees what a killed one leaves outside of dir; nil if that is nothing.
	sweep func(dir string) error
}

// variable names the environment variable that replaces the shared server.
func (k kind) variable() string {
	return "FANFARE_TEST_" + strings.ToUpper(k.name) + "_URL"
}

// find returns the path of the binary. Its error is exec.ErrNotFound if the
// server is not installed.
func (k kind) find() (string, error) {
	path, err := exec.LookPath(k.binary)
	if err == nil || k.dirs == nil {
		return path, err
	}
	for _, dir := range k.dirs() {
		if path, err := exec.LookPath(filepath.Join(dir, k.binary)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// private starts a server for one test, which ends with the test.
func (k kind) private(tb testing.TB, args []string) *Server {
	tb.Helper()
	s, err := start(k, args)
	if err != nil {
		k.giveUp(tb, err)
	}
	s.tb = tb
	tb.Cleanup(func() {
		if err := s.discard(); err != nil {
			tb.Errorf("testsvc: %s: %v", k.name, err)
		}
	})
	return s
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
