package fanfare

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// dialTest returns a client of the server at address, closed with the test.
func dialTest(t testing.TB, address string) *redigoClient {
	t.Helper()
	c, err := DialRedis(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*redigoClient)
}

func TestDialRedisAddress(t *testing.T) {
	for _, tt := range []struct{ address, network, addr string }{
		{"localhost:6379", "tcp", "localhost:6379"},
		{"[::1]:7000", "tcp", "[::1]:7000"},
		{"redis://host", "tcp", "host:6379"},
		{"redis://:pw@host:7000/3", "tcp", "host:7000"},
		{"redis://user:pw@[::1]", "tcp", "[::1]:6379"},
		{"rediss://host:7000", "tcp", "host:7000"},
		{"redis+unix:///run/redis.sock?db=1", "unix", "/run/redis.sock"},
	} {
		network, addr, _, err := parseRedisAddress(tt.address)
		if err != nil || network != tt.network || addr != tt.addr {
			t.Errorf("parseRedisAddress(%q) = %s %s, %v, want %s %s", tt.address, network, addr, err, tt.network, tt.addr)
		}
	}
}

func TestDialRedisRefusesAddressesWithoutShowingThem(t *testing.T) {
	for _, address := range []string{
		"", "hunter2", "hunter2:", ":6379", "host:hunter2", "host:0", "host:70000",
		"http://:hunter2@host", "redis://", "redis://:hunter2@", "redis://user:hun/ter2@host",
		"redis://user:hunter2@host:port", "redis://:hunter2@host/db", "redis://:hunter2@host/-1",
		"redis://:hunter2@host/1/2", "redis://:hunter2@host?x=1", "redis://user:hunter2%zz@host",
		"redis+unix://:hunter2@", "redis+unix:///s?db=x", "redis://host:hunter2",
	} {
		_, err := DialRedis(address)
		if !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("DialRedis(%q) = %v, want ErrInvalid", address, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "ter2")) {
			t.Errorf("DialRedis(%q) shows the password: %v", address, err)
		}
	}
}

func TestRedisClientReplies(t *testing.T) {
	c := dialTest(t, testsvc.Redis(t).URL)
	reply, err := c.Do(t.Context(), "EVAL", "return {1, ARGV[1], false, {ARGV[2], ARGV[3]}}", 0, "text", []byte("bytes"), int64(7))
	if got := fmt.Sprintf("%s", reply); err != nil || got != "[%!s(int64=1) text <nil> [bytes 7]]" {
		t.Errorf("Do = %s, %v", got, err)
	}
	var refused RedisError
	if _, err = c.Do(t.Context(), "NOSUCH"); !errors.As(err, &refused) {
		t.Errorf("Do of an unknown command = %v, want a RedisError", err)
	}
	for _, args := range [][]any{{}, {""}, {7}} {
		if _, err := c.Do(t.Context(), args...); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Do(%v) = %v, want ErrUnavailable", args, err)
		}
		if _, err := c.Pipeline(t.Context(), [][]any{args}); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Pipeline(%v) = %v, want ErrUnavailable", args, err)
		}
	}
}

func TestRedisClientPipeline(t *testing.T) {
	c := dialTest(t, testsvc.Redis(t).URL)
	cmds := make([][]any, 3*redisPipeline+1)
	for i := range cmds {
		cmds[i] = []any{"ECHO", i}
	}
	cmds[70] = []any{"NOSUCH"}
	replies, err := c.Pipeline(t.Context(), cmds)
	if err != nil || len(replies) != len(cmds) {
		t.Fatalf("Pipeline = %d replies, %v, want %d", len(replies), err, len(cmds))
	}
	for i, r := range replies {
		if _, refused := r.(RedisError); refused != (i == 70) {
			t.Errorf("reply %d = %v", i, r)
		} else if !refused && string(r.([]byte)) != fmt.Sprint(i) {
			t.Errorf("reply %d = %s", i, r)
		}
	}
	if replies, err := c.Pipeline(t.Context(), nil); err != nil || len(replies) != 0 {
		t.Errorf("empty Pipeline = %v, %v", replies, err)
	}
	if n := c.pool.ActiveCount(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestRedisClientObeysContexts(t *testing.T) {
	server := testsvc.StartRedis(t)
	c := dialTest(t, server.URL)
	if _, err := c.Do(t.Context(), "PING"); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	defer server.Resume()
	for range 3 { // with an idle connection, and with new ones
		for name, call := range map[string]func(context.Context) error{
			"Do":       func(ctx context.Context) error { _, err := c.Do(ctx, "PING"); return err },
			"Pipeline": func(ctx context.Context) error { _, err := c.Pipeline(ctx, [][]any{{"PING"}}); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			start := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(start); err == nil || errors.Is(err, driver.ErrUnavailable) || took > time.Second {
				t.Errorf("%s = %v after %v, want an unknown outcome at once", name, err, took)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Do(ctx, "PING"); !errors.Is(err, driver.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Do with a canceled context = %v, want ErrUnavailable and Canceled", err)
	}
}

// silentListener accepts connections and says nothing.
func silentListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); accepting.Wait() })
	return l.Addr().String()
}

func TestRedisClientObeysContextsWhileItConnects(t *testing.T) {
	addr := silentListener(t)
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { // knows no contexts
		return redis.Dial("tcp", addr, redis.DialPassword("hunter2"), redis.DialReadTimeout(time.Second))
	}}
	defer pool.Close()
	for name, c := range map[string]RedisClient{
		"TLS":      dialTest(t, "rediss://"+addr),
		"password": dialTest(t, "redis://:hunter2@"+addr),
		"pool":     RedigoPool(pool),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		start := time.Now()
		_, err := c.Do(ctx, "PING")
		cancel()
		if took := time.Since(start); !errors.Is(err, driver.ErrUnavailable) || took > 500*time.Millisecond {
			t.Errorf("%s: Do = %v after %v, want ErrUnavailable at once", name, err, took)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error shows the password: %v", name, err)
		}
	}
}

func TestRedisClientWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := dialTest(t, l.Addr().String())
	if _, err := c.Do(t.Context(), "PING"); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Do = %v, want ErrUnavailable", err)
	}
	c.Close()
	if _, err := c.Do(t.Context(), "PING"); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Do after Close = %v, want ErrUnavailable", err)
	}
}

func TestRedigoPoolStaysTheCallers(t *testing.T) {
	addr := testsvc.Redis(t).Addr
	pool := &redis.Pool{MaxActive: 1, MaxIdle: 1, Dial: func() (redis.Conn, error) { return redis.Dial("tcp", addr) }}
	defer pool.Close()
	c := RedigoPool(pool)
	held := pool.Get()
	if _, err := c.Do(t.Context(), "PING"); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Do on an exhausted pool = %v, want ErrUnavailable", err)
	}
	held.Close()
	for range 10 {
		if _, err := c.Do(t.Context(), "PING"); err != nil {
			t.Errorf("Do = %v, want a connection that was given back", err)
		}
	}
	c.Close()
	if _, err := c.Do(t.Context(), "PING"); err != nil {
		t.Errorf("Do after Close = %v, want the pool open", err)
	}
}

func TestRedigoPoolOfNothing(t *testing.T) {
	for _, pool := range []*redis.Pool{nil, {}} {
		if _, err := RedigoPool(pool).Do(t.Context(), "PING"); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Do on pool %v = %v, want ErrUnavailable", pool, err)
		}
	}
}

func TestDialRedisVerifiesTheServer(t *testing.T) {
	owner := httptest.NewTLSServer(nil) // of a certificate for 127.0.0.1
	defer owner.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: owner.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, "+PONG\r\n")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	trusted := x509.NewCertPool()
	trusted.AddCert(owner.Certificate())
	for _, tt := range []struct {
		host string
		ca   *x509.CertPool
		ok   bool
	}{
		{"127.0.0.1", trusted, true},
		{"127.0.0.1", x509.NewCertPool(), false}, // an unknown authority
		{"localhost", trusted, false},            // another host's certificate
	} {
		c, err := DialRedis("rediss://"+tt.host+":"+port, redis.DialTLSConfig(&tls.Config{RootCAs: tt.ca}))
		if err != nil {
			t.Fatal(err)
		}
		reply, err := c.Do(t.Context(), "PING")
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("PING of %s = %v, %v, want ok %t", tt.host, reply, err, tt.ok)
		}
		c.Close()
	}
}

// idle makes n idle connections.
func (c *redigoClient) idle(t *testing.T, n int) {
	t.Helper()
	var calls sync.WaitGroup
	for range n {
		calls.Go(func() {
			if _, err := c.Do(t.Context(), "BLPOP", "fanfare-no-such-list", "0.05"); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if got := c.pool.IdleCount(); got != n {
		t.Fatalf("%d idle connections, want %d", got, n)
	}
}

func TestRestartOfTheServerCostsOneTry(t *testing.T) {
	server := testsvc.StartRedis(t)
	c := dialTest(t, server.URL)
	c.idle(t, 20)
	server.Kill()
	server.Restart()
	failed := 0
	for range 30 {
		if _, err := c.Do(t.Context(), "PING"); err != nil {
			failed++
		}
	}
	if failed > 1 {
		t.Errorf("%d calls failed after a restart, want at most 1", failed)
	}
}

func TestCanceledCallsCostNoOtherConnection(t *testing.T) {
	c := dialTest(t, testsvc.Redis(t).URL)
	c.idle(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, "BLPOP", "fanfare-no-such-list", "10"); err == nil {
		t.Error("Do = nil, want an error")
	}
	if _, err := c.Do(t.Context(), "PING"); err != nil {
		t.Error(err)
	}
	if got := c.pool.IdleCount(); got != 4 {
		t.Errorf("%d idle connections after a canceled call, want 4", got)
	}
}

func TestReplicaCostsItsConnections(t *testing.T) {
	server := testsvc.StartRedis(t)
	c := dialTest(t, server.URL)
	c.idle(t, 3)
	if _, err := c.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Do(t.Context(), "SET", "a", "b")
	if !errors.Is(redisError(err, true), driver.ErrReadOnly) {
		t.Errorf("write on a replica = %v, want ErrReadOnly", err)
	}
	if _, err := c.Do(t.Context(), "PING"); err != nil {
		t.Error(err)
	}
	if n := c.pool.ActiveCount(); n != 1 {
		t.Errorf("%d connections, want a new one alone", n)
	}
}

// fakeServer answers the first command of every connection with the given bytes.
func fakeServer(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, answer)
	return l.Addr().String()
}

func serve(t *testing.T, l net.Listener, answer string) {
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				_, _ = conn.Write([]byte(answer))
			}
			conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
}

// Whatever a server says is data: no call panics, hangs or returns it all.
func TestBrokerOnWhatIsNoRedis(t *testing.T) {
	for _, answer := range []string{
		"", "HTTP/1.1 400 Bad Request\r\n\r\n", "-" + strings.Repeat("x", 1<<20) + "\r\n", "+OK\r\n", "$-1\r\n", "*-1\r\n",
		":1\r\n", "*1\r\n:1\r\n", "*3\r\n$1\r\na\r\n*0\r\n$-1\r\n", "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
		"*2\r\n$1\r\nx\r\n$1\r\ny\r\n", "$5\r\nab",
	} {
		b := newRedisBroker(dialTest(t, fakeServer(t, answer)), redisOptions{})
		for _, v := range verbs(b, driver.Queue{Topic: "t", Group: "g"}) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := v.do(ctx); err != nil && len(err.Error()) > 1000 {
				t.Errorf("%s on %.20q: error of %d bytes", v.name, answer, len(err.Error()))
			}
			cancel()
		}
	}
}
