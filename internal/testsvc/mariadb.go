package testsvc

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// MariaDB returns the MariaDB shared by all tests of this test binary, and
// starts it at first use. Its URL is a DSN of go-sql-driver/mysql for the user
// root, who needs no password, and the database fanfare, which is there and is
// utf8mb4. A package that calls it ends its TestMain with Run. When
// FANFARE_TEST_MARIADB_URL is set, a DSN or a mysql URL, the server it names is
// taken instead; that one has an Addr and a URL, but no Dir.
func MariaDB(tb testing.TB) *Server {
	tb.Helper()
	return sharedMariaDB.get(tb)
}

// StartMariaDB starts a MariaDB for the calling test alone, which ends with the
// test. What it has committed survives Kill, unless args, which are added to the
// command line of mariadbd, say otherwise.
func StartMariaDB(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return mariadb.private(tb, args)
}

var sharedMariaDB = shared{kind: mariadb}

var mariadb = kind{
	name:    "mariadb",
	binary:  "mariadbd",
	dirs:    func() []string { return []string{"/usr/sbin"} }, // not in PATH of most users
	debian:  "mariadb-server",
	gentle:  syscall.SIGTERM,
	fast:    []string{"--innodb-flush-log-at-trx-commit=2"},
	prepare: mariadbPrepare,
	args: func(dir, port string) []string {
		return append(mariadbStorage(dir),
			"--port="+port, "--bind-address=127.0.0.1", "--init-file="+filepath.Join(dir, mariadbInit),
			"--pid-file="+mariadbPID, "--socket=mysql.sock", // both in the data directory
			"--innodb-buffer-pool-size=64M", "--skip-log-bin", "--character-set-server=utf8mb4",
		)
	},
	url:     func(addr string) string { return "root@tcp(" + addr + ")/fanfare" },
	foreign: foreignMariaDB,
	ready:   mariadbReady,
}

const (
	mariadbInit = "init.sql"   // in Dir
	mariadbPID  = "server.pid" // in the data directory
)

// mariadbStorage returns the arguments that the first start and all others have
// in common. A small log makes the first start short.
func mariadbStorage(dir string) []string {
	args := []string{"--no-defaults", "--datadir=" + mariadbData(dir), "--innodb-log-file-size=32M"}
	if os.Geteuid() == 0 { // it runs as root only when told to
		args = append(args, "--user=root")
	}
	return args
}

func mariadbData(dir string) string { return filepath.Join(dir, "data") }

func mariadbPrepare(s *Server) error {
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return err
	}
	// The server runs it at each start, before it answers anyone.
	init := []byte("CREATE DATABASE IF NOT EXISTS fanfare;\n")
	if err := os.WriteFile(filepath.Join(s.Dir, mariadbInit), init, 0o600); err != nil {
		return err
	}
	return s.run(install, append(mariadbStorage(s.Dir),
		"--auth-root-authentication-method=normal", "--skip-test-db")...)
}

// mariadbReady asks the pid file whether the process listens, for which it must
// have the port to itself, and then for the greeting of MySQL's protocol.
func mariadbReady(addr, dir string, pid int) error {
	b, err := os.ReadFile(filepath.Join(mariadbData(dir), mariadbPID))
	if err != nil {
		return err
	}
	if who := strings.TrimSpace(string(b)); who != fmt.Sprint(pid) {
		return fmt.Errorf("%s is of process %s, want %d", mariadbPID, who, pid)
	}
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	var head [5]byte // length (3), sequence number, version of the protocol
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[4] != 10 {
		return fmt.Errorf("protocol version %d, want 10", head[4])
	}
	return nil
}
