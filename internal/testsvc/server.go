package testsvc

import (
	"errors"
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

// Server is a server that runs for tests. Only a private one, from a Start
// function, may be killed, paused, stopped and restarted; on any other these
// panic. They are called by one goroutine at a time.
type Server struct {
	Addr string // host:port
	URL  string // as a user of the library writes it
	Dir  string // holds all state of the server and its output; empty if someone else runs it

	tb      testing.TB // the test that owns the server; nil if none does
	kind    kind
	path    string              // of the binary
	account *syscall.Credential // the server runs as; nil for that of the tests
	args    []string
	proc    *process
}

// Kill ends the server and all its processes with SIGKILL, as a crash would,
// and returns when they are gone. On a server that has ended it does nothing.
func (s *Server) Kill() {
	s.mustOwn("Kill")
	s.proc.kill()
}

// Stop ends the server the way it is meant to end, so that it can save its
// state, and returns when it is gone. It stops a paused server too. On a server
// that has ended it does nothing.
func (s *Server) Stop() {
	s.mustOwn("Stop")
	s.proc.stop(s.kind.gentle)
}

// Pause stalls the server: it keeps its connections, even accepts new ones in
// the kernel, and answers none until Resume.
func (s *Server) Pause() {
	s.mustOwn("Pause")
	if err := s.proc.pause(); err != nil {
		s.tb.Errorf("testsvc: Pause: %v", err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.mustOwn("Resume")
	if err := s.proc.resume(); err != nil {
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

// readyWithin bounds the start of a server. On an idle machine Redis takes 30ms,
// PostgreSQL 90ms, MariaDB 200ms; the rest is for busy ones.
const readyWithin = 30 * time.Second

// start returns a server of kind k that is ready. Its error is exec.ErrNotFound
// if the server is not installed.
func start(k kind, args []string) (*Server, error) {
	path, err := k.find()
	if err != nil {
		return nil, err
	}
	s := &Server{kind: k, path: path}
	if k.rootless && os.Geteuid() == 0 {
		if s.account, err = unprivileged(k.name, "nobody"); err != nil {
			return nil, err
		}
	}
	if s.Dir, err = newDir("fanfare-"+k.name+"-", s.account); err != nil {
		return nil, err
	}
	if err := s.begin(args); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// begin prepares Dir and launches the server on a port of its own.
func (s *Server) begin(args []string) error {
	if s.kind.prepare != nil {
		if err := s.kind.prepare(s); err != nil {
			return err
		}
	}
	var err error
	for range 3 { // another process may take the port before the server does
		var port string
		if port, err = freePort(); err != nil {
			return err
		}
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		s.URL = s.kind.url(s.Addr)
		s.args = append(s.kind.args(s.Dir, port), args...)
		if err = s.launch(); err == nil {
			return nil
		}
	}
	return err
}

// launch starts the process and returns when the server is ready; on an error
// no process is left.
func (s *Server) launch() error {
	proc, err := s.start(s.path, s.args...)
	if err != nil {
		return err
	}
	s.proc = proc

	probe := time.NewTicker(10 * time.Millisecond)
	defer probe.Stop()
	late := time.NewTimer(readyWithin)
	defer late.Stop()
	for {
		err := s.kind.ready(s.Addr, s.Dir, proc.pid())
		if err == nil {
			return nil
		}
		select {
		case <-probe.C:
		case <-proc.exited:
			return fmt.Errorf("%s ended early: %v\n%s", s.kind.binary, proc.err, s.output().last())
		case <-late.C:
			proc.kill()
			return fmt.Errorf("%s not ready after %v: %w\n%s", s.kind.binary, readyWithin, err, s.output().last())
		}
	}
}

// run runs a command of the server in Dir to its end.
func (s *Server) run(path string, args ...string) error {
	proc, err := s.start(path, args...)
	if err != nil {
		return err
	}
	<-proc.exited
	if proc.err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), proc.err, s.output().last())
	}
	return nil
}

func (s *Server) start(path string, args ...string) (*process, error) {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, s.output(), s.output()
	return startProcess(cmd, s.account)
}

func (s *Server) output() output { return output(filepath.Join(s.Dir, "output")) }

// discard ends the server for good, with all that it leaves.
func (s *Server) discard() error {
	s.proc.stop(s.kind.gentle)
	return s.remove()
}

func (s *Server) remove() error {
	var err error
	if s.kind.sweep != nil {
		err = s.kind.sweep(s.Dir)
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// output is the file that what a server prints is added to. It is no *os.File,
// which a server would write to itself: so it gets a pipe, and exec.Cmd.Wait
// waits for all processes that hold its other end.
type output string

func (o output) Write(b []byte) (int, error) {
	f, err := os.OpenFile(string(o), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.Write(b)
	return n, errors.Join(err, f.Close())
}

// last returns the last 4 KB.
func (o output) last() []byte {
	b, err := os.ReadFile(string(o))
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
