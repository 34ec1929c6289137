package testsvc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Server is a server that runs for tests. Only a private one, from StartRedis,
// may be killed, paused, stopped and restarted; on any other these panic. They
// are called by one goroutine at a time.
type Server struct {
	Addr string // host:port
	URL  string // as a user of the library writes it
	Dir  string // holds all state of the server and its output; empty if someone else runs it

	tb   testing.TB // the test that owns the server; nil if none does
	kind kind
	path string // of the binary
	args []string
	proc *process
}

// Kill ends the server with SIGKILL, as a crash would, and returns when it is
// gone. On a server that has ended it does nothing.
func (s *Server) Kill() {
	s.mustOwn("Kill")
	s.proc.kill()
}

// Stop ends the server the way it is meant to end, so that it can save its
// state, and returns when it is gone. It stops a paused server too. On a server
// that has ended it does nothing.
func (s *Server) Stop() {
	s.mustOwn("Stop")
	s.proc.stop()
}

// Pause stalls the server: it keeps its connections, even accepts new ones in
// the kernel, and answers none until Resume.
func (s *Server) Pause() {
	s.mustOwn("Pause")
	if err := s.proc.signal(syscall.SIGSTOP); err != nil {
		s.tb.Errorf("testsvc: Pause: %v", err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.mustOwn("Resume")
	if err := s.proc.signal(syscall.SIGCONT); err != nil {
		s.tb.Errorf("testsvc: Resume: %v", err)
	}
}

// Restart starts the server again after Kill or Stop: at the same address, with
// the same arguments, on what is in Dir. It returns when the server is ready,
// and ends the test if it does not get there.
func (s *Server) Restart() {
	s.mustOwn("Restart")
	s.tb.Helper()
	if s.proc.running() {
		s.tb.Fatal("testsvc: Restart of a server that runs: Kill or Stop it first")
	}
	if err := s.launch(); err != nil {
		s.tb.Fatalf("testsvc: Restart: %v", err)
	}
}

func (s *Server) mustOwn(method string) {
	if s.tb == nil {
		panic("testsvc: " + method + " of a server that other tests use: start one for this test")
	}
}

// kind is a sort of server: all that differs between them.
type kind struct {
	name   string // in messages and variables
	binary string // looked for in PATH
	debian string // package that has the binary
	args   func(port, dir string) []string
	url    func(addr string) string

	// ready returns nil once the process pid itself answers at addr.
	ready func(addr string, pid int) error
}

// readyWithin bounds the start of a server. Redis takes 30ms on an idle
// machine; the rest is for busy ones.
const readyWithin = 20 * time.Second

// start returns a server of kind k that is ready. Its error is exec.ErrNotFound
// if the server is not installed.
func start(k kind, dir string, args []string) (*Server, error) {
	path, err := exec.LookPath(k.binary)
	if err != nil {
		return nil, err
	}
	for range 3 { // another process may take the port before the server does
		var port string
		if port, err = freePort(); err != nil {
			return nil, err
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		s := &Server{
			Addr: addr, URL: k.url(addr), Dir: dir,
			kind: k, path: path, args: append(k.args(port, dir), args...),
		}
		if err = s.launch(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// launch starts the process and returns when the server is ready; on an error
// no process is left.
func (s *Server) launch() error {
	output, err := os.OpenFile(s.output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(s.path, s.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, output, output
	proc, err := startProcess(cmd)
	if err != nil {
		return err
	}
	s.proc = proc

	probe := time.NewTicker(10 * time.Millisecond)
	defer probe.Stop()
	late := time.NewTimer(readyWithin)
	defer late.Stop()
	for {
		err := s.kind.ready(s.Addr, cmd.Process.Pid)
		if err == nil {
			return nil
		}
		select {
		case <-probe.C:
		case <-proc.exited:
			return fmt.Errorf("%s ended early: %w\n%s", s.kind.binary, proc.err, s.lastOutput())
		case <-late.C:
			proc.kill()
			return fmt.Errorf("%s not ready after %v: %w\n%s", s.kind.binary, readyWithin, err, s.lastOutput())
		}
	}
}

func (s *Server) output() string { return filepath.Join(s.Dir, "output") }

// lastOutput returns the last 4 KB of what the server wrote.
func (s *Server) lastOutput() []byte {
	b, err := os.ReadFile(s.output())
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-4096):]
}

// freePort returns a port that nobody listens on. It is below the range from
// which the kernel serves outgoing connections: in that range a client that
// redials while its server is down can take the port, even connect to itself.
func freePort() (string, error) {
	var taken error
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(10_000))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			taken = err
			continue
		}
		return port, l.Close()
	}
	return "", fmt.Errorf("no free port: %w", taken)
}
