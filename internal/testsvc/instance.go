package testsvc

import (
	"os/exec"
	"syscall"
)

// Instance is a private server of a program that is no test: it starts with
// OpenRedis, OpenMariaDB or OpenPostgres and ends with Close, or with the program.
// What the Start functions say of a server and its arguments is true of it too.
// Its methods are called by one goroutine at a time.
type Instance struct {
	Addr string // host:port
	URL  string // as a user of the library writes it
	Dir  string // holds all state of the server and its output

	server *Server
}

// OpenRedis starts a Redis. Its error is exec.ErrNotFound if it is not installed.
func OpenRedis(args ...string) (*Instance, error) { return open(redis, args) }

// OpenMariaDB is OpenRedis for MariaDB.
func OpenMariaDB(args ...string) (*Instance, error) { return open(mariadb, args) }

// OpenPostgres is OpenRedis for PostgreSQL.
func OpenPostgres(args ...string) (*Instance, error) { return open(postgres, args) }

func open(k kind, args []string) (*Instance, error) {
	s, err := start(k, args)
	if err != nil {
		return nil, err
	}
	return &Instance{Addr: s.Addr, URL: s.URL, Dir: s.Dir, server: s}, nil
}

// Kill is Server.Kill.
func (i *Instance) Kill() { i.server.proc.kill() }

// Pause is Server.Pause.
func (i *Instance) Pause() error { return i.server.proc.pause() }

// Resume is Server.Resume.
func (i *Instance) Resume() error { return i.server.proc.resume() }

// Restart is Server.Restart, after Kill.
func (i *Instance) Restart() error { return i.server.launch() }

// Close ends the server for good, with all that it leaves.
func (i *Instance) Close() error { return i.server.discard() }

// Process is a child process of a program, in a process group of its own. On
// Linux it dies with the program.
type Process struct{ process *process }

// StartProcess starts cmd. The caller sees to its end with Kill or Stop.
func StartProcess(cmd *exec.Cmd) (*Process, error) {
	p, err := startProcess(cmd, nil)
	if err != nil {
		return nil, err
	}
	return &Process{p}, nil
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (p *Process) Kill() { p.process.kill() }

// Stop ends it with SIGTERM, or SIGKILL if that takes too long, and returns when
// it is gone. A paused one goes on first.
func (p *Process) Stop() { p.process.stop(syscall.SIGTERM) }

// Pause stalls the process until Resume.
func (p *Process) Pause() error { return p.process.pause() }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.process.resume() }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.process.exited }
