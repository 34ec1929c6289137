package trial

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/audit"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
)

// injector carries out what is planned.
type injector struct {
	*crew
	server *Server
	held   sync.Mutex // by whoever kills or freezes the server
}

// run injects faults until ctx ends. Then everything works again.
func (in *injector) run(ctx context.Context) {
	var striking sync.WaitGroup
	defer striking.Wait()
	for _, fault := range in.Faults {
		strike := in.strikes()[fault]
		if strike == nil {
			continue
		}
		striking.Go(func() {
			for p := in.plan(fault, in.backend); ; {
				s := p.next()
				if !sleep(ctx, s.pause) {
					return
				}
				strike(ctx, s)
			}
		})
	}
}

// strikes are what can be done to this server and its clients.
func (in *injector) strikes() map[string]func(context.Context, strike) {
	all := map[string]func(context.Context, strike){
		"kill-consumer": func(_ context.Context, s strike) { in.kill(s.of(in.crew, ledger.Consumer), audit.Kill) },
		"stop-consumer": func(_ context.Context, s strike) { in.kill(s.of(in.crew, ledger.Consumer), audit.Leave) },
		"kill-producer": func(_ context.Context, s strike) { in.kill(s.of(in.crew, ledger.Producer), audit.Kill) },
		"freeze": func(ctx context.Context, s strike) {
			in.freeze(ctx, s.of(in.crew, s.role), s.length, in.server.Instance == nil)
		},
	}
	if in.server.Cut != nil {
		all["cut-server"] = func(ctx context.Context, _ strike) { in.ask(ctx, "cut-server", in.server.Cut) }
	}
	if in.server.Forget != nil {
		all["forget"] = func(ctx context.Context, _ strike) { in.ask(ctx, "forget", in.server.Forget) }
	}
	if in.server.Instance == nil {
		return all
	}
	all["kill-server"] = in.killServer
	all["freeze-server"] = in.freezeServer
	all["cut"] = in.onWire("cut", func(_ context.Context, m *member, _ strike) { m.wire.Cut() })
	all["slow"] = in.onWire("slow", func(ctx context.Context, m *member, s strike) {
		m.wire.Slow(s.delay)
		sleep(ctx, s.length)
		m.wire.Slow(0)
	})
	all["half-open"] = in.onWire("half-open", func(ctx context.Context, m *member, s strike) {
		end := m.wire.Mute(s.mute)
		sleep(ctx, s.length)
		end()
	})
	return all
}

// ask has the server do something to its clients.
func (in *injector) ask(ctx context.Context, fault string, do func(ctx context.Context) error) {
	from := in.chronic.now()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if do(ctx) == nil { // else it is away
		in.chronic.note(causes[fault], 0, from)
	}
}

// onWire does something to the wire of a member.
func (in *injector) onWire(fault string, do func(context.Context, *member, strike)) func(context.Context, strike) {
	return func(ctx context.Context, s strike) {
		m := s.of(in.crew, s.role)
		m.mu.Lock()
		before := m.number
		m.mu.Unlock()
		from := in.chronic.now()
		do(ctx, m, s)
		m.mu.Lock()
		after := m.number
		m.mu.Unlock()
		for number := before; number <= after; number++ { // also who came meanwhile, and some others
			in.chronic.note(causes[fault], number, from)
		}
	}
}

func (in *injector) killServer(ctx context.Context, s strike) {
	in.held.Lock()
	defer in.held.Unlock()
	from := in.chronic.now()
	in.server.Instance.Kill()
	if s.mute == 0 { // now and then it stays away
		sleep(ctx, s.length)
	}
	if err := in.server.Instance.Restart(); err != nil {
		in.chronic.fail(fmt.Errorf("restart the server: %w", err))
		return
	}
	in.chronic.note(audit.Down, 0, from)
}

func (in *injector) freezeServer(ctx context.Context, s strike) {
	in.held.Lock()
	defer in.held.Unlock()
	from := in.chronic.now()
	if err := in.server.Instance.Pause(); err != nil {
		in.chronic.fail(fmt.Errorf("freeze the server: %w", err))
		return
	}
	sleep(ctx, s.length)
	if err := in.server.Instance.Resume(); err != nil {
		in.chronic.fail(fmt.Errorf("let the server go on: %w", err))
		return
	}
	in.chronic.note(audit.Outage, 0, from)
}
