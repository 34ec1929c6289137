package testsvc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Redis returns the Redis shared by all tests of this test binary, and starts
// it at first use. A package that calls it ends its TestMain with Run. When
// FANFARE_TEST_REDIS_URL is set, the server it names is taken instead; that
// one has an Addr and a URL, but no Dir.
func Redis(tb testing.TB) *Server {
	tb.Helper()
	return sharedRedis.get(tb)
}

// StartRedis starts a Redis for the calling test alone, which ends with the
// test. It persists nothing unless args, which are added to the command line
// of redis-server, say so: "--appendonly", "yes".
func StartRedis(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return redis.private(tb, args)
}

var sharedRedis = shared{kind: redis}

var redis = kind{
	name:   "redis",
	binary: "redis-server",
	debian: "redis-server",
	gentle: syscall.SIGTERM,
	args: func(dir, port string) []string {
		return []string{
			"--port", port, "--bind", "127.0.0.1", "--dir", dir,
			"--save", "", "--appendonly", "no", "--daemonize", "no",
		}
	},
	url:     func(addr string) string { return "redis://" + addr + "/0" },
	foreign: foreignRedis,
	ready:   redisReady,
}

// redisReady asks for a PONG, which Redis refuses while it loads its data, and
// for the process behind it, since another test's Redis may have won the port.
func redisReady(addr, _ string, pid int) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "PING\r\nINFO server\r\nQUIT\r\n"); err != nil {
		return err
	}
	reply := bufio.NewScanner(conn)
	if !reply.Scan() || reply.Text() != "+PONG" {
		return fmt.Errorf("PING = %q, %v, want +PONG", reply.Text(), reply.Err())
	}
	for reply.Scan() {
		if who, ok := strings.CutPrefix(reply.Text(), "process_id:"); ok {
			if who != fmt.Sprint(pid) {
				return fmt.Errorf("%s belongs to process %s, want %d", addr, who, pid)
			}
			return nil
		}
	}
	return fmt.Errorf("no process_id in INFO server: %v", reply.Err())
}
