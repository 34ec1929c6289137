package testsvc

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// orphanOf names the variable that makes this test binary abandon a server.
const orphanOf = "FANFARE_TEST_ORPHAN"

// abandon starts a server, prints its address and directory and dies without
// stopping it.
func abandon(name string) {
	for _, svc := range services {
		if svc.name != name {
			continue
		}
		s, err := start(svc.kind, nil)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.Addr, s.Dir)
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {} // SIGKILL is on its way
	}
}

func TestKilledTestsLeaveNoServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills a process whose parent dies")
	}
	each(t, func(t *testing.T, svc service) {
		svc.need(t)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), orphanOf+"="+svc.name)
		out, err := cmd.Output()
		if err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("abandon = %q, %v, want death by a signal", out, err)
		}
		addr, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		orphan := &Server{Dir: dir, kind: svc.kind}
		t.Cleanup(func() {
			if err := orphan.remove(); err != nil {
				t.Error(err)
			}
		})
		awaitGone(t, addr, dir)
	})
}

// awaitGone returns when nobody listens at addr and no process is in dir.
func awaitGone(t *testing.T, addr, dir string) {
	t.Helper()
	late := time.After(5 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		inside := processesIn(t, dir)
		if err != nil && len(inside) == 0 {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("the server at %s outlives the tests that started it: processes %v", addr, inside)
		}
	}
}

// processesIn returns the processes whose working directory is below dir.
func processesIn(t *testing.T, dir string) []int {
	t.Helper()
	all, err := parents()
	if err != nil {
		t.Fatal(err)
	}
	var inside []int
	for pid := range all {
		// An error means that the process is someone else's, or has ended.
		if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && strings.HasPrefix(cwd, dir) {
			inside = append(inside, pid)
		}
	}
	return inside
}
