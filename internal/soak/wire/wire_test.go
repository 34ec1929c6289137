package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// start returns a wire to a server that sends back what it gets.
func start(t *testing.T) *Wire {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		server.Close()
		serving.Wait()
	})
	serving.Go(func() { w.Serve(ctx) })
	serving.Go(func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	return w
}

func dial(t *testing.T, w *Wire) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends a byte and returns how long the answer takes, at most wait.
func ask(conn net.Conn, wait time.Duration) (time.Duration, error) {
	begin := time.Now()
	if err := conn.SetDeadline(begin.Add(wait)); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte{'x'}); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return time.Since(begin), err
}

func TestWire(t *testing.T) {
	w := start(t)
	conn := dial(t, w)
	if _, err := ask(conn, 5*time.Second); err != nil {
		t.Fatalf("ask = %v", err)
	}

	w.Slow(50 * time.Millisecond)
	if took, err := ask(conn, 5*time.Second); err != nil || took < 100*time.Millisecond {
		t.Errorf("ask over a slow wire = %v, %v, want at least 100ms", took, err)
	}
	w.Slow(0)

	for _, how := range []Mute{Both, Answers, All} {
		conn := dial(t, w)
		if _, err := ask(conn, 5*time.Second); err != nil {
			t.Fatalf("ask = %v", err)
		}
		end := w.Mute(how)
		if _, err := ask(conn, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ask over a mute wire = %v, want no answer", err)
		}
		_, err := ask(dial(t, w), 200*time.Millisecond)
		if silent := errors.Is(err, os.ErrDeadlineExceeded); silent != (how == All) {
			t.Errorf("ask over a new connection with Mute(%d) = %v", how, err)
		}
		end()
		if _, err := ask(conn, 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ask after the end of Mute(%d) = %v, want a broken connection", how, err)
		}
	}

	conn = dial(t, w)
	if _, err := ask(conn, 5*time.Second); err != nil {
		t.Fatalf("ask = %v", err)
	}
	w.Cut()
	if _, err := ask(conn, 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ask after Cut = %v, want a broken connection", err)
	}
}
