package trial

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/soak/audit"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/load"
)

// Main is the main function of a program that soaks one of its backends: it
// returns what the program passes to os.Exit, which is 0 only if the promise was
// kept.
func Main(args []string, backends ...Backend) int {
	if IsChild() {
		return RunChild(backends...)
	}
	o, err := parseFlags(backends, args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o.Output = os.Stdout
	fmt.Printf("soak of %s %s: seed %d, %d producers, %d consumers, faults %v\n", o.backend.Name, o.Mode, o.Seed, o.Producers, o.Consumers, o.Faults)
	report, err := Run(ctx, o.backend, o.Config)
	if err == nil {
		report.Print(os.Stdout)
		err = save(o.json, report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 1
	}
	if len(report.Failures()) > 0 {
		return 1
	}
	return 0
}

func save(path string, r audit.Report) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Run soaks a backend, and leaves nothing but the ledgers, if c.Dir is given. An
// error is about the soak itself; what is to be said of the backend is in the
// report. When ctx ends it stops dispatching and finishes.
func Run(ctx context.Context, b Backend, c Config) (report audit.Report, err error) {
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "fanfare-soak-"); err != nil {
			return report, err
		}
		defer os.RemoveAll(dir)
	}
	server, err := b.Start(ctx, c.Mode)
	if err != nil {
		return report, fmt.Errorf("start %s: %w", b.Name, err)
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	s := soak{Config: c, backend: b, server: server, dir: dir}
	if err := s.open(ctx); err != nil {
		return report, err
	}
	evidence, err := s.run(ctx)
	err = errors.Join(err, s.d.Stop(context.WithoutCancel(ctx)), s.closed())
	if err != nil {
		return report, err
	}
	return audit.Check(evidence)
}

// soak is one soak.
type soak struct {
	Config
	backend Backend
	server  *Server
	dir     string
	d       *fanfare.Durable // not through a wire
	closed  func() error
}

// open opens a dispatcher and makes the groups.
func (s *soak) open(ctx context.Context) error {
	addr := ""
	if s.server.Instance != nil {
		addr = s.server.Instance.Addr
	}
	var err error
	if s.d, s.closed, err = s.backend.Open(s.server.Address(addr), ""); err != nil {
		return err
	}
	for _, g := range groups {
		if err := s.d.Queue(Topic, g).Create(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run has the crew work under faults, and then without, until all is done.
func (s *soak) run(ctx context.Context) (audit.Evidence, error) {
	ch := newChronicle()
	cr, err := hire(s.Config, s.backend, s.dir, s.server, ch)
	if err != nil {
		return audit.Evidence{}, err
	}
	defer cr.end()
	var watching sync.WaitGroup
	defer watching.Wait()
	watch, endWatch := context.WithCancel(context.Background())
	defer endWatch()
	watching.Go(func() { ch.watch(watch, s.server.Probe) })

	t := newTally(s.dir)
	if err := s.work(ctx, cr, ch, t); err != nil {
		return audit.Evidence{}, err
	}
	took := ch.now()
	backlog, err := s.drain(t, ch)
	if err != nil {
		return audit.Evidence{}, err
	}
	dead, err := s.bury()
	if err != nil {
		return audit.Evidence{}, err
	}
	cr.dismiss(ledger.Consumer)
	left, err := s.server.Left(context.Background())
	if err != nil {
		return audit.Evidence{}, fmt.Errorf("look at what is left: %w", err)
	}
	faults, err := ch.all()
	return audit.Evidence{
		Dir: s.dir, Load: s.load(), Lease: s.Lease, Faults: faults, Dead: dead, Left: left, Backlog: backlog, Took: took,
	}, err
}

// work lets the crew dispatch and handle under faults until enough was done. The
// producers are gone when it returns.
func (s *soak) work(ctx context.Context, cr *crew, ch *chronicle, t *tally) error {
	in := injector{crew: cr, server: s.server}
	var injecting sync.WaitGroup
	inject, endFaults := context.WithCancel(ctx)
	injecting.Go(func() { in.run(inject) })
	defer injecting.Wait()
	defer endFaults()

	over := time.NewTimer(s.Time)
	defer over.Stop()
	tick := time.NewTicker(progress)
	defer tick.Stop()
	for enough := false; !enough; {
		select {
		case <-ctx.Done():
			enough = true
		case <-over.C:
			enough = true
		case <-ch.failed:
			_, err := ch.all()
			return err
		case <-tick.C:
		}
		if err := t.read(); err != nil {
			return err
		}
		t.print(s.Output, ch)
		enough = enough || s.Events > 0 && t.accepted >= s.Events
	}
	endFaults()
	injecting.Wait()
	cr.dismiss(ledger.Producer)
	return nil
}

// progress is the time between two lines.
const progress = 2 * time.Second

// drain waits until all events have ended and returns how many have not, if that
// takes too long.
func (s *soak) drain(t *tally, ch *chronicle) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Drain)
	defer cancel()
	for shown := ch.now(); ; {
		waiting, err := s.d.Status(ctx, Topic)
		backlog := 0
		for _, q := range waiting {
			backlog += q.Ready + q.Delayed + q.Running
		}
		if err == nil && backlog == 0 {
			return 0, t.read()
		}
		if ch.now()-shown > progress {
			shown = ch.now()
			if err := t.read(); err != nil {
				return 0, err
			}
			t.print(s.Output, ch)
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return max(1, backlog), nil
		}
	}
}

// bury takes the dead letters away and returns them.
func (s *soak) bury() ([]audit.Dead, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all []audit.Dead
	for number, g := range groups {
		q := s.d.Queue(Topic, g)
		for {
			some, err := q.Dead(ctx, 0, 100)
			if err != nil {
				return nil, err
			}
			if len(some) == 0 {
				break
			}
			var ids []string
			for _, r := range some {
				p, err := fanfare.Decode[load.Payload](r.Payload)
				if err != nil {
					return nil, err
				}
				all = append(all, audit.Dead{Event: p.Event, Group: number, Reason: r.Reason})
				ids = append(ids, r.ID)
			}
			if _, err := q.DeleteDead(ctx, ids...); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
