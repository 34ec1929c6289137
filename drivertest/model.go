package drivertest

import (
	"fmt"
	"math/rand/v2"

	"github.com/fanfare-go/fanfare/driver"
)

var modelPromises = []promise{
	{"a random walk keeps the invariants, seed 1", func(c *trial) { walk(c, 1) }},
	{"a random walk keeps the invariants, seed 2", func(c *trial) { walk(c, 2) }},
	{"a random walk keeps the invariants, seed 3", func(c *trial) { walk(c, 3) }},
	{"a random walk keeps the invariants, random seed", func(c *trial) { walk(c, rand.Uint64()) }},
}

// model is what a queue must hold after a walk: no lease ends in it, no window
// does, and a delay is over at once or never.
type model struct {
	*trial
	rand    *rand.Rand
	letters map[string]*letter
	pushed  int
	claims  []driver.Delivery // all, valid or not
	latest  driver.Settlement // repeated now and then
}

// letter is one message of the model. It stays when the message is gone.
type letter struct {
	state              driver.State // Waiting, Delayed (for good), Running, Dead, or "" when gone
	known              bool         // whether its id is a duplicate
	attempts, failures int
	token              string // of the claim that is valid
}

// walk does random steps and compares the broker with the model after each.
func walk(c *trial, seed uint64) {
	c.needs(c.caps.UniqueID, "unique ids")
	c.needs(c.caps.Delay > 0, "delays")
	c.Logf("seed %d", seed)
	m := &model{trial: c, rand: rand.New(rand.NewPCG(seed, seed)), letters: map[string]*letter{}}
	steps := []func(){m.push, m.push, m.push, m.repush, m.claim, m.claim, m.claim, m.settle, m.settle, m.settle, m.stale, m.repeat, m.extend}
	if canceler, ok := c.b.(driver.Canceler); ok {
		steps = append(steps, func() { m.cancel(canceler) })
	}
	if letters, ok := c.b.(driver.DeadLetters); ok {
		steps = append(steps, func() { m.requeue(letters) })
	}
	for range 250 {
		steps[m.rand.IntN(len(steps))]()
		m.compare()
		if c.Failed() {
			return
		}
	}
}

func (m *model) push() {
	id := fmt.Sprint(m.pushed)
	m.pushed++
	m.letters[id] = &letter{state: driver.Waiting, known: true}
	m.accept(plain(id))
}

// pick returns one of the letters in one of the states, or "".
func (m *model) pick(states ...driver.State) string {
	start := m.rand.IntN(m.pushed + 1)
	for i := range m.pushed {
		id := fmt.Sprint((start + i) % m.pushed)
		for _, s := range states {
			if m.letters[id].state == s {
				return id
			}
		}
	}
	return ""
}

func (m *model) repush() {
	id := m.pick(driver.Waiting, driver.Delayed, driver.Running, driver.Dead, "")
	if id == "" {
		return
	}
	l := m.letters[id]
	if l.known {
		m.refuse(driver.Message{ID: id, Body: []byte("repeated")}, driver.ErrDuplicate)
		return
	}
	m.accept(plain(id))
	*l = letter{state: driver.Waiting, known: true}
}

func (m *model) claim() {
	for _, d := range m.trial.claim(driver.ClaimRequest{Limit: 1 + m.rand.IntN(3)}).Deliveries {
		l := m.letters[d.ID]
		if l == nil || l.state != driver.Waiting {
			m.Fatalf("claimed %q, whose state is %+v", d.ID, l)
		}
		l.state, l.token = driver.Running, d.Token
		l.attempts++
		m.counted(d, l.attempts, l.failures)
		if string(d.Body) != "body of "+d.ID {
			m.Errorf("message %q has the body %q", d.ID, d.Body)
		}
		m.claims = append(m.claims, d)
	}
}

// settlement returns a random one of the claim.
func (m *model) settlement(r driver.Receipt) driver.Settlement {
	s := driver.Settlement{Receipt: r, Verb: driver.Verb(m.rand.IntN(4)), Reason: "walk", Error: "walked"}
	if m.rand.IntN(3) == 0 {
		s.Delay = long
	}
	return s
}

func (m *model) settle() {
	id := m.pick(driver.Running)
	if id == "" {
		return
	}
	l := m.letters[id]
	s := m.settlement(driver.Receipt{ID: id, Token: l.token})
	m.must(m.trial.settle(s))
	m.latest, l.token = s, ""
	switch s.Verb {
	case driver.Ack:
		l.state = ""
		return
	case driver.Bury:
		l.state = driver.Dead
		l.failures++
		return
	case driver.Retry:
		l.failures++
	case driver.Release:
		l.attempts--
	}
	l.state = driver.Waiting
	if s.Delay > 0 {
		l.state = driver.Delayed
	}
}

// stale settles a claim that was ended, which must change nothing.
func (m *model) stale() {
	if len(m.claims) == 0 {
		return
	}
	d := m.claims[m.rand.IntN(len(m.claims))]
	if m.letters[d.ID].token == d.Token {
		return
	}
	m.trial.settle(m.settlement(d.Receipt))
}

// repeat sends the latest settlement again.
func (m *model) repeat() {
	if m.latest.ID == "" {
		return
	}
	if err := m.trial.settle(m.latest); err != nil && m.letters[m.latest.ID].token == "" {
		m.Errorf("Settle of %q repeated = %v, want it settled", m.latest.ID, err)
	}
}

func (m *model) extend() {
	if len(m.claims) == 0 {
		return
	}
	d := m.claims[m.rand.IntN(len(m.claims))]
	if want := m.letters[d.ID].token != d.Token; m.lost(d) != want {
		m.Errorf("Extend of %q reports lost %t, want %t", d.ID, !want, want)
	}
}

func (m *model) cancel(canceler driver.Canceler) {
	id := fmt.Sprint(m.rand.IntN(m.pushed + 1))
	l := m.letters[id]
	want := l != nil && (l.state == driver.Waiting || l.state == driver.Delayed)
	if got := m.canceled(canceler, id); got != want {
		m.Errorf("Cancel of %q, whose state is %+v = %t, want %t", id, l, got, want)
	}
	if want {
		*l = letter{}
		m.latest = driver.Settlement{}
	}
}

func (m *model) requeue(letters driver.DeadLetters) {
	if id := m.pick(driver.Dead); id != "" {
		m.trial.requeue(letters, id)
		m.latest = driver.Settlement{}
		*m.letters[id] = letter{state: driver.Waiting, known: true}
	}
}

// compare requires that the broker shows what the model holds.
func (m *model) compare() {
	inspector, ok := m.b.(driver.Inspector)
	if !ok || m.pushed == 0 {
		return
	}
	count := map[driver.State]int{}
	for _, l := range m.letters {
		count[l.state]++
	}
	s, _ := m.status()
	if s.Ready+s.Delayed != count[driver.Waiting]+count[driver.Delayed] ||
		s.Running != count[driver.Running] || s.Dead != count[driver.Dead] {
		m.Errorf("Status = %+v, want %v", s, count)
	}
	id := fmt.Sprint(m.rand.IntN(m.pushed))
	l := m.letters[id]
	r, err := inspector.Get(m.Context(), m.queue, id)
	if l.state == "" {
		m.wants(driver.ErrNotFound, err, "Get of a message that is gone")
		return
	}
	m.must(err)
	m.recorded(r, l.attempts, l.failures)
	if waits := r.State == driver.Ready || r.State == driver.Delayed; r.State != l.state && !(waits && l.state == driver.Waiting) {
		m.Errorf("message %q is %s, want %s", id, r.State, l.state)
	}
}
