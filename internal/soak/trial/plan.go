package trial

import (
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/audit"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/wire"
)

// usual is how long it is on average between two faults of a kind.
var usual = map[string]time.Duration{
	"kill-consumer": 550 * time.Millisecond,
	"stop-consumer": 5 * time.Second,
	"kill-producer": 1100 * time.Millisecond,
	"freeze":        5 * time.Second,
	"kill-server":   4 * time.Second,
	"freeze-server": 12 * time.Second,
	"cut":           time.Second,
	"cut-server":    time.Second,
	"forget":        time.Second,
	"slow":          4 * time.Second,
	"half-open":     5 * time.Second,
}

// strike is one fault that is planned.
type strike struct {
	pause  time.Duration // after the end of the one before
	length time.Duration
	role   ledger.Role
	member int
	mute   wire.Mute
	delay  time.Duration // of a slow wire
}

// plan makes the strikes of one kind, one after the other. They depend on the
// seed and on nothing else.
type plan struct {
	dice  *rand.Rand
	pause time.Duration
	slow  time.Duration
	Config
}

func (c Config) plan(fault string, b Backend) plan {
	h := fnv.New64a()
	h.Write([]byte(fault))
	return plan{
		dice:  rand.New(rand.NewPCG(c.Seed, h.Sum64())),
		pause: time.Duration(float64(usual[fault]) / c.Often), slow: b.Slowest, Config: c,
	}
}

func (p plan) next() strike {
	s := strike{
		pause: between(p.dice, p.pause/2, p.pause*3/2),
		// From what nobody may notice to what takes events away.
		length: between(p.dice, p.Lease/4, p.Lease*9/4),
		role:   ledger.Consumer,
		mute:   wire.Mute(p.dice.IntN(3)),
		delay:  between(p.dice, 0, p.slow+1),
	}
	if p.dice.IntN(4) == 0 {
		s.role = ledger.Producer
	}
	s.member = p.dice.IntN(1 << 16)
	return s
}

func between(dice *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(dice.Int64N(int64(most-least)))
}

// of returns the member that a strike hits, where it hits one of a role.
func (s strike) of(c *crew, role ledger.Role) *member {
	all := c.members[role]
	return all[s.member%len(all)]
}

// causes are the kinds of faults as the audit knows them.
var causes = map[string]audit.Cause{
	"cut": audit.Cut, "cut-server": audit.Cut, "forget": audit.Scripts,
	"slow": audit.Slow, "half-open": audit.Mute,
	"kill-server": audit.Down, "freeze-server": audit.Outage,
}
