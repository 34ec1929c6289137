package testsvc

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// gentle bounds how long a server may take to end after SIGTERM.
const gentle = 15 * time.Second

// process is a child process in a process group of its own, so that Ctrl-C in
// a terminal reaches the tests alone and they end it.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	err    error         // of Wait; read after exited
}

// startProcess starts cmd. The goroutine it leaves ends with the process, which
// the caller sees to with kill or stop.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = groupAttr()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go p.hold(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// hold starts the process and waits for it, both on one OS thread: Linux sends
// the death signal to a child when the thread that started it ends, and a
// thread that is free to do other work may end at any time.
func (p *process) hold(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop ends the process with SIGTERM, or SIGKILL if that takes too long.
func (p *process) stop() {
	if !p.running() {
		return
	}
	// Errors mean that it ended just now. SIGCONT lets a paused one see SIGTERM.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	late := time.NewTimer(gentle)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		p.kill()
	}
}

// kill ends the process and all its children with SIGKILL.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL) // an error means that it ended just now
	<-p.exited
}

// signal sends sig to the process and its children.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return errors.New("the process has ended")
	}
	return syscall.Kill(-p.cmd.Process.Pid, sig)
}
