package testsvc

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// TestPostgresSessions holds that Pause and Kill reach the sessions of clients,
// each of which is a process in a session of its own.
func TestPostgresSessions(t *testing.T) {
	s := StartPostgres(t)
	conn := enter(t, s)
	s.Pause()
	query(t, conn, "SELECT 1")
	awaitNothing(t, conn)
	s.Resume()
	await(t, conn, "T") // the description of a row

	busy := enter(t, s)
	query(t, busy, "SELECT count(*) FROM generate_series(1, 1000000000000) n WHERE n % 7 = 8")
	awaitNothing(t, busy)
	s.Kill()
	s.Restart()
	enter(t, s)
}

func TestPostgresVersion(t *testing.T) {
	dirs := []string{"/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/17/bin"}
	newest := slices.MaxFunc(dirs, func(a, b string) int { return int(10 * (postgresVersion(a) - postgresVersion(b))) })
	if newest != dirs[2] {
		t.Errorf("newest of %v = %s", dirs, newest)
	}
}

// enter returns a connection to a server that waits for a query.
func enter(t *testing.T, s *Server) net.Conn {
	t.Helper()
	const ready = "Z\x00\x00\x00\x05I"
	conn := dial(t, s, postgresHello)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	last := make([]byte, len(ready))
	for string(last) != ready {
		copy(last, last[1:])
		if _, err := io.ReadFull(conn, last[len(last)-1:]); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

func query(t *testing.T, conn net.Conn, sql string) {
	t.Helper()
	write(t, conn, "Q\x00\x00\x00"+string(rune(len(sql)+5))+sql+"\x00") // short: its length is one byte
}
