package testsvc

import (
	"errors"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// gentle bounds how long a server may take to end when it is told to.
const gentle = 15 * time.Second

// process is a child process in a process group of its own, so that Ctrl-C in
// a terminal reaches the tests alone and they end it.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process and all who hold its output are gone
	err    error         // of Wait; read after exited
}

// startProcess starts cmd as account, or as this process if that is nil. The
// goroutine it leaves ends with the process, which the caller sees to with kill
// or stop.
func startProcess(cmd *exec.Cmd, account *syscall.Credential) (*process, error) {
	cmd.SysProcAttr = groupAttr()
	cmd.SysProcAttr.Credential = account
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

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop ends the process with sig, or SIGKILL if that takes too long.
func (p *process) stop(sig syscall.Signal) {
	if !p.running() {
		return
	}
	// Errors mean that it ended just now. A paused one sees sig once it goes on.
	_ = p.cmd.Process.Signal(sig)
	_ = p.resume()
	late := time.NewTimer(gentle)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		p.kill()
	}
}

// kill ends the process and its descendants with SIGKILL.
func (p *process) kill() {
	if !p.running() {
		return
	}
	pids, _ := p.freeze()      // without them the group is what can be killed
	slices.Reverse(pids)       // the id of a child stays its own while its parent does not wait
	for _, pid := range pids { // errors mean that it ended just now
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.exited
}

// pause stalls the process and its descendants.
func (p *process) pause() error {
	if !p.running() {
		return errors.New("the process has ended")
	}
	_, err := p.freeze()
	return err
}

// freeze stalls the process and its descendants, parents first, since one that
// is stalled has no more children, and returns them in that order.
func (p *process) freeze() ([]int, error) {
	var frozen []int
	for {
		pids, err := tree(p.pid())
		if err != nil {
			return frozen, err
		}
		before := len(frozen)
		for _, pid := range pids {
			if !slices.Contains(frozen, pid) {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // an error means that it ended just now
				frozen = append(frozen, pid)
			}
		}
		if len(frozen) == before {
			return frozen, nil
		}
	}
}

// resume lets the process and its descendants go on.
func (p *process) resume() error {
	if !p.running() {
		return errors.New("the process has ended")
	}
	pids, err := tree(p.pid())
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT) // an error means that it ended just now
	}
	return err
}
