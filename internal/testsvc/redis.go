package testsvc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

var redis = kind{
	name:   "redis",
	binary: "redis-server",
	debian: "redis-server",
	args: func(port, dir string) []string {
		return []string{
			"--port", port, "--bind", "127.0.0.1", "--dir", dir,
			"--save", "", "--appendonly", "no", "--daemonize", "no",
		}
	},
	url:   func(addr string) string { return "redis://" + addr + "/0" },
	ready: redisReady,
}

// redisReady asks for a PONG, which Redis refuses while it loads its data, and
// for the process behind it, since another test's Redis may have won the port.
func redisReady(addr string, pid int) error {
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
