package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/load"
)

// childOf names the environment variable that makes a program a child: its order.
const childOf = "FANFARE_SOAK_CHILD"

// order is what a child is to do.
type order struct {
	Backend string
	Role    ledger.Role
	Process int
	Dir     string // of the ledgers
	Epoch   time.Time
	Address string
	Flaw    string
	Lease   time.Duration
	Backlog int // at which producers pause
	Workers int // of a producer
	Load    load.Load
}

// command is the child that carries the order out.
func (o order) command(output *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childOf+"="+string(text))
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, nil
}

// IsChild reports whether this process is a child of a soak, which then calls
// RunChild and nothing else.
func IsChild() bool { return os.Getenv(childOf) != "" }

// RunChild does what a child is there for until it is told to end by SIGTERM, on
// the one of its backends that it is to use. It returns what the program passes to
// os.Exit.
func RunChild(backends ...Backend) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := runChild(ctx, backends); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 1
	}
	return 0
}

func runChild(ctx context.Context, backends []Backend) error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(childOf)), &o); err != nil {
		return err
	}
	i := slices.IndexFunc(backends, func(b Backend) bool { return b.Name == o.Backend })
	if i < 0 {
		return fmt.Errorf("no backend %q", o.Backend)
	}
	log, err := ledger.Create(o.Dir, o.Role, o.Process, o.Epoch)
	if err != nil {
		return err
	}
	defer log.Close()
	d, closed, err := backends[i].Open(o.Address, o.Flaw,
		fanfare.WithLease(o.Lease),
		fanfare.WithBackoff(fanfare.Exponential(50*time.Millisecond, 500*time.Millisecond, 0.5)),
		fanfare.WithMaxRetry(load.MaxAttempts-1))
	if err != nil {
		return err
	}
	c := child{order: o, log: log, d: d}
	var pulse sync.WaitGroup
	pulsing, end := context.WithCancel(context.Background())
	pulse.Go(func() { c.pulse(pulsing) })
	if o.Role == ledger.Producer {
		err = c.produce(ctx)
	} else {
		err = c.consume(ctx)
	}
	end()
	pulse.Wait()
	if e := closed(); err == nil {
		err = e
	}
	return err
}

// child is a process of a soak.
type child struct {
	order
	log *ledger.Writer
	d   *fanfare.Durable
}

// stop stops the dispatcher with some patience.
func (c *child) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.d.Stop(ctx) // what it left behind is in the ledger
}

// must ends the process, as only a broken disk can make it necessary.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// A process that gets no time to run for as long as stalled says so.
const (
	beat    = 50 * time.Millisecond
	stalled = 200 * time.Millisecond
)

// pulse notes when the process stands still.
func (c *child) pulse(ctx context.Context) {
	t := time.NewTicker(beat)
	defer t.Stop()
	for last := c.log.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := c.log.Now()
		if gap := now - last; gap > stalled {
			length := min(255, gap/(10*time.Millisecond))
			must(c.log.Write(ledger.Record{Kind: ledger.Stall, At: now, Value: uint8(length)}))
		}
		last = now
	}
}

// sleep waits for d and reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
