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

// orphanDir names the variable that makes this test binary abandonRedis.
const orphanDir = "FANFARE_TEST_ORPHAN_DIR"

// abandonRedis starts a server, prints its address and dies without stopping it.
func abandonRedis(dir string) {
	s, err := start(redis, dir, nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Addr)
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // SIGKILL is on its way
}

func TestKilledTestsLeaveNoServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills a process whose parent dies")
	}
	needRedis(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orphanDir+"="+t.TempDir())
	out, err := cmd.Output()
	if err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("abandonRedis = %q, %v, want death by a signal", out, err)
	}

	addr := strings.TrimSpace(string(out))
	late := time.After(5 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("the server at %s outlives the tests that started it", addr)
		}
	}
}
