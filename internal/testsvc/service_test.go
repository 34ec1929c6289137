package testsvc

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// service is a kind of server as the tests of this package use it.
type service struct {
	kind
	shared  func(testing.TB) *Server
	private func(testing.TB, ...string) *Server
	durable []string // arguments of a private one that survives Kill
	before  string   // Addr in URL
	after   string

	hello string // a new client sends; it gets an answer that starts with reply
	reply string

	// runs adds one to a counter in the server and returns it.
	runs func(t *testing.T, s *Server) string
}

var services = []service{
	{
		kind: redis, shared: Redis, private: StartRedis,
		durable: []string{"--appendonly", "yes", "--appendfsync", "always"},
		before:  "redis://", after: "/0",
		hello: "PING\r\n", reply: "+PONG",
		runs: func(t *testing.T, s *Server) string {
			return strings.TrimPrefix(ask(t, s.Addr, "INCR runs"), ":")
		},
	},
	{
		kind: mariadb, shared: MariaDB, private: StartMariaDB,
		before: "root@tcp(", after: ")/fanfare",
		runs: func(t *testing.T, s *Server) string {
			host, port, _ := net.SplitHostPort(s.Addr)
			return client(t, "mariadb", "--no-defaults", "-h"+host, "-P"+port, "-uroot", "-NB", "fanfare", "-e", addRun)
		},
	},
	{
		kind: postgres, shared: Postgres, private: StartPostgres,
		before: "postgres://postgres@", after: "/postgres?sslmode=disable",
		hello: postgresHello, reply: "R",
		runs: func(t *testing.T, s *Server) string {
			path, err := filepath.EvalSymlinks(s.path)
			if err != nil {
				t.Fatal(err)
			}
			return client(t, filepath.Join(filepath.Dir(path), "psql"), "-XqAt", s.URL, "-c", addRun)
		},
	},
}

const addRun = "CREATE TABLE IF NOT EXISTS runs (n INT); INSERT INTO runs VALUES (1); SELECT count(*) FROM runs"

func each(t *testing.T, test func(t *testing.T, svc service)) {
	t.Helper()
	for _, svc := range services {
		t.Run(svc.name, func(t *testing.T) { test(t, svc) })
	}
}

func (svc service) need(t *testing.T) {
	t.Helper()
	if _, err := svc.find(); err != nil {
		svc.giveUp(t, err)
	}
}

// client runs a client that comes with the server and returns what it prints.
func client(t *testing.T, path string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// ask sends a command to the Redis at addr and returns the first line of the
// reply.
func ask(t *testing.T, addr, command string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
