package trial

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/audit"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/load"
	"github.com/fanfare-go/fanfare/internal/soak/wire"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// crew is the child processes. Whoever ends gives way to a new process.
type crew struct {
	Config
	backend Backend
	dir     string
	epoch   time.Time
	chronic *chronicle
	output  *os.File // of the children
	working sync.WaitGroup
	carry   context.CancelFunc // ends the wires
	members map[ledger.Role][]*member

	mu     sync.Mutex
	number int // of the latest process
}

// member is a place in the crew, which one process after the other has.
type member struct {
	role    ledger.Role
	address string
	wire    *wire.Wire // nil where processes share a file
	leave   context.Context
	dismiss context.CancelFunc
	gone    chan struct{} // closed when the last process has ended

	mu      sync.Mutex
	process *testsvc.Process // nil for the moments between two
	number  int
	ending  bool // somebody ended the process on purpose
}

// hire starts the crew.
func hire(c Config, b Backend, dir string, server *Server, ch *chronicle) (*crew, error) {
	out, err := os.OpenFile(filepath.Join(dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	carrying, carry := context.WithCancel(context.Background())
	cr := &crew{Config: c, backend: b, dir: dir, epoch: ch.epoch, chronic: ch, output: out, carry: carry, members: map[ledger.Role][]*member{}}
	for range c.Producers {
		err = cr.add(carrying, ledger.Producer, server, err)
	}
	for range c.Consumers {
		err = cr.add(carrying, ledger.Consumer, server, err)
	}
	if err != nil {
		cr.end()
		return nil, err
	}
	return cr, nil
}

// add starts a member, unless an earlier one could not be.
func (c *crew) add(carrying context.Context, role ledger.Role, server *Server, err error) error {
	if err != nil {
		return err
	}
	m := &member{role: role, address: server.Address(""), gone: make(chan struct{})}
	if server.Instance != nil {
		if m.wire, err = wire.New(server.Instance.Addr); err != nil {
			return err
		}
		m.address = server.Address(m.wire.Addr())
		c.working.Go(func() { m.wire.Serve(carrying) })
	}
	m.leave, m.dismiss = context.WithCancel(context.Background())
	if err := c.start(m); err != nil {
		return err
	}
	c.members[role] = append(c.members[role], m)
	c.working.Go(func() { c.tend(m) })
	return nil
}

// start starts a process for a member.
func (c *crew) start(m *member) error {
	c.mu.Lock()
	c.number++
	number := c.number
	c.mu.Unlock()
	o := order{
		Backend: c.backend.Name, Role: m.role, Process: number, Dir: c.dir, Epoch: c.epoch, Address: m.address, Flaw: c.Flaw,
		Lease: c.Lease, Backlog: c.Backlog, Workers: c.Workers, Load: c.load(),
	}
	cmd, err := o.command(c.output)
	if err != nil {
		return err
	}
	p, err := testsvc.StartProcess(cmd)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process, m.number, m.ending = p, number, false
	return nil
}

func (c Config) load() load.Load {
	return load.Load{Seed: c.Seed, Failures: c.has("handler"), MaxDelay: 2 * time.Second, Lease: c.Lease, Long: c.Long}
}

// tend sees to it that a member has a process, until it is dismissed and that one
// has ended.
func (c *crew) tend(m *member) {
	defer close(m.gone)
	for {
		m.mu.Lock()
		p := m.process
		m.mu.Unlock()
		select {
		case <-p.Exited():
		case <-m.leave.Done():
			m.mu.Lock()
			m.ending = true
			m.mu.Unlock()
			p.Stop()
		}
		m.mu.Lock()
		if !m.ending {
			c.chronic.note(audit.Crash, m.number, c.chronic.now())
		}
		m.process = nil
		m.mu.Unlock()
		if !sleep(m.leave, 100*time.Millisecond) {
			return
		}
		if err := c.start(m); err != nil {
			c.chronic.fail(err)
			return
		}
	}
}

// kill ends the process of a member, as a crash would, or lets it end in good
// order.
func (c *crew) kill(m *member, kind audit.Cause) {
	m.mu.Lock()
	p, number := m.process, m.number
	if p == nil {
		m.mu.Unlock()
		return
	}
	m.ending = true
	m.mu.Unlock()
	from := c.chronic.now()
	if kind == audit.Kill {
		p.Kill()
	} else {
		p.Stop()
	}
	c.chronic.note(kind, number, from)
}

// freeze stalls the process of a member for d, or until ctx ends.
func (c *crew) freeze(ctx context.Context, m *member, d time.Duration, shared bool) {
	m.mu.Lock()
	p, number := m.process, m.number
	m.mu.Unlock()
	from := c.chronic.now()
	if p == nil || p.Pause() != nil {
		return
	}
	sleep(ctx, d)
	_ = p.Resume() // an error means that it was killed meanwhile
	if shared {
		number = 0 // it may have held a lock on the file
	}
	c.chronic.note(audit.Freeze, number, from)
}

// dismiss lets all members of a role end in good order, and waits for them.
func (c *crew) dismiss(role ledger.Role) {
	for _, m := range c.members[role] {
		m.dismiss()
	}
	for _, m := range c.members[role] {
		<-m.gone
	}
}

// end ends what still runs.
func (c *crew) end() {
	c.dismiss(ledger.Producer)
	c.dismiss(ledger.Consumer)
	c.carry()
	c.working.Wait()
	c.output.Close()
}
