// Package wire is the connection between a process and its server, which can be
// cut, made slow, and left half-open: a proxy.
package wire

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Wire carries the connections of one process to a server.
type Wire struct {
	listener net.Listener
	target   string
	delay    atomic.Int64 // of each piece that is carried, in nanoseconds
	deaf     atomic.Bool  // new connections are mute too

	mu    sync.Mutex
	links map[*link]struct{}
}

// link is one connection, of two ends.
type link struct {
	client, server *net.TCPConn
	asks, answers  atomic.Bool // nothing is carried to the server, or back
}

// New returns a wire to target that listens on a port of its own.
func New(target string) (*Wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &Wire{listener: l, target: target, links: map[*link]struct{}{}}, nil
}

// Addr is where the process finds the server.
func (w *Wire) Addr() string { return w.listener.Addr().String() }

// Serve carries connections until ctx ends; then all are closed.
func (w *Wire) Serve(ctx context.Context) {
	var carrying sync.WaitGroup
	defer carrying.Wait()
	defer w.Cut()
	defer context.AfterFunc(ctx, func() { w.listener.Close() })()
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		carrying.Go(func() { w.carry(ctx, conn.(*net.TCPConn)) })
	}
}

// carry carries one connection to its end.
func (w *Wire) carry(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", w.target)
	if err != nil {
		_ = client.SetLinger(0) // what the server would do
		return
	}
	l := &link{client: client, server: conn.(*net.TCPConn)}
	defer l.server.Close()
	l.asks.Store(w.deaf.Load())
	w.mu.Lock()
	w.links[l] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.links, l)
		w.mu.Unlock()
	}()
	if ctx.Err() != nil { // the links were cut before this was one
		return
	}
	var back sync.WaitGroup
	back.Go(func() { w.pump(ctx, l, l.server, l.client, &l.answers) })
	w.pump(ctx, l, l.client, l.server, &l.asks)
	back.Wait()
}

// pump carries one direction. Its end is that of the connection.
func (w *Wire) pump(ctx context.Context, l *link, from, to *net.TCPConn, mute *atomic.Bool) {
	defer l.server.Close()
	defer l.client.Close()
	b := make([]byte, 1<<15)
	for {
		n, err := from.Read(b)
		if n > 0 && !mute.Load() {
			wait(ctx, time.Duration(w.delay.Load()))
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Cut resets all connections.
func (w *Wire) Cut() {
	for _, l := range w.all() {
		l.reset()
	}
}

func (l *link) reset() {
	_ = l.client.SetLinger(0) // errors mean that it ended just now
	_ = l.server.SetLinger(0)
	l.client.Close()
	l.server.Close()
}

// Slow holds every piece back for d, until it is called with 0.
func (w *Wire) Slow(d time.Duration) { w.delay.Store(int64(d)) }

// Mute says how a wire is half-open.
type Mute uint8

// The ways to be mute.
const (
	Both    Mute = iota // nothing is carried
	Answers             // what the process asks for is done, and it is not told
	All                 // nothing is carried, also not by new connections
)

// Mute makes the connections that there are half-open, until the function that
// it returns is called, which resets them.
func (w *Wire) Mute(how Mute) (end func()) {
	w.deaf.Store(how == All)
	links := w.all()
	for _, l := range links {
		l.asks.Store(how != Answers)
		l.answers.Store(true)
	}
	return func() {
		w.deaf.Store(false)
		if how == All {
			links = w.all()
		}
		for _, l := range links {
			l.reset()
		}
	}
}

func (w *Wire) all() []*link {
	w.mu.Lock()
	defer w.mu.Unlock()
	links := make([]*link, 0, len(w.links))
	for l := range w.links {
		links = append(links, l)
	}
	return links
}
