package statemachine

import (
	"errors"
	"slices"

	"github.com/fanfare-go/fanfare/driver"
)

// few draws one or two ids.
func (m *machine) few() []string {
	few := []string{pick(m, "id", ids...)}
	if other := pick(m, "id", ids...); !slices.Contains(few, other) && m.chance("two", 2) {
		few = append(few, other)
	}
	return few
}

// requeue lets dead messages wait, if there are any.
func (m *machine) requeue() {
	g, few := m.group(), m.few()
	m.request(func() { m.requeueThese(g, few) })
}

func (m *machine) requeueThese(g *group, few []string) {
	var outcomes []error
	var err error
	b := m.any()
	now := m.at(func() { outcomes, err = b.Requeue(m.Context(), m.queue(g), few...) })
	m.must("Requeue", err)
	if len(outcomes) != len(few) {
		m.Fatalf("Requeue of %q has %d outcomes", few, len(outcomes))
	}
	for i, id := range few {
		dead := g.dead[id]
		var want error
		switch {
		case dead == nil:
			want = driver.ErrNotFound
		case g.live[id] != nil:
			want = driver.ErrDuplicate
		default:
			delete(g.dead, id)
			delete(g.settled, id)
			g.forgetSurely(id)
			g.live[id] = &message{id: id, body: dead.body, priority: dead.priority, due: now}
		}
		if !errors.Is(outcomes[i], want) {
			m.Fatalf("Requeue of %q in group %q = %v, want %v", id, g.name, outcomes[i], want)
		}
	}
}

// deleteDead removes dead messages, if there are any.
func (m *machine) deleteDead() {
	g, few := m.group(), m.few()
	m.request(func() { m.deleteThese(g, few) })
}

func (m *machine) deleteThese(g *group, few []string) {
	var n int
	var err error
	b := m.any()
	m.at(func() { n, err = b.DeleteDead(m.Context(), m.queue(g), few...) })
	m.must("DeleteDead", err)
	want := 0
	for _, id := range few {
		if g.dead[id] != nil {
			want++
			delete(g.dead, id)
			delete(g.settled, id)
		}
	}
	if n != want {
		m.Fatalf("DeleteDead of %q in group %q = %d, want %d", few, g.name, n, want)
	}
}

// purge empties a group.
func (m *machine) purge() {
	g := m.group()
	m.request(func() { m.purgeThis(g) })
}

func (m *machine) purgeThis(g *group) {
	var n int
	var err error
	b := m.any()
	m.at(func() { n, err = b.Purge(m.Context(), m.queue(g)) })
	m.must("Purge", err)
	if n != len(g.live) {
		m.Fatalf("Purge of group %q = %d, want %d", g.name, n, len(g.live))
	}
	clear(g.live)
	clear(g.settled)
}
