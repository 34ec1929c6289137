package fanfare_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
)

// proxy stands between a client and a server, and spoils what passes. Its fields
// may change while it works, for what is read from then on.
type proxy struct {
	addr   string
	target atomic.Pointer[string]

	swallowRequests atomic.Bool  // without a word, as a broken network does
	swallowReplies  atomic.Bool  // likewise
	delay           atomic.Int64 // ns before each piece is passed on, one after the other
	cut             atomic.Int64 // bytes of replies after which a connection is reset; 0 never

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: l.Addr().String(), conns: map[net.Conn]struct{}{}}
	p.target.Store(&target)
	p.work.Go(func() { p.accept(l) })
	t.Cleanup(func() {
		l.Close()
		p.reset()
		p.work.Wait()
	})
	return p
}

// open returns a dispatcher on the server behind p.
func (p *proxy) open(t *testing.T, opts ...fanfare.Option) *fanfare.Durable {
	t.Helper()
	d, err := fanfare.OpenRedis(p.addr, opts...)
	require.NoError(t, err)
	behaviour.StopWith(t, d)
	return d
}

// reset breaks all connections, with what is on its way.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		hangUp(c)
	}
}

// heal makes p pass all on. Connections that lost something are broken.
func (p *proxy) heal() {
	p.swallowRequests.Store(false)
	p.swallowReplies.Store(false)
	p.delay.Store(0)
	p.cut.Store(0)
	p.reset()
}

func (p *proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", *p.target.Load())
		if err != nil {
			hangUp(client)
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.work.Go(func() {
			defer p.forget(client, server)
			var replies sync.WaitGroup
			replies.Go(func() {
				defer hangUp(client)
				p.pass(client, server, &p.swallowReplies, &p.cut)
			})
			p.pass(server, client, &p.swallowRequests, nil)
			hangUp(server)
			replies.Wait()
		})
	}
}

// pass copies from one connection to the other until either ends.
func (p *proxy) pass(to, from net.Conn, swallow *atomic.Bool, cut *atomic.Int64) {
	buf, passed := make([]byte, 4096), int64(0)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if swallow.Load() {
			continue
		}
		if d := p.delay.Load(); d > 0 {
			<-time.After(time.Duration(d))
		}
		last := false
		if cut != nil {
			if limit := cut.Load(); limit > 0 && passed+int64(n) >= limit {
				n, last = int(max(limit-passed, 0)), true
			}
		}
		if _, err := to.Write(buf[:n]); err != nil || last {
			return
		}
		passed += int64(n)
	}
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// hangUp ends a connection with a reset.
func hangUp(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
