// Package trial runs one peer at one work in a process of its own, so that no
// peer meets the heap, the connections or the goroutines of another.
package trial

import (
	"context"
	"fmt"
	"slices"
)

// Suite is works on one kind of backend, and the peers at them.
type Suite struct {
	Name  string
	Works []Work
	Cases []Case
}

// Work is what all its peers do alike.
type Work struct {
	Name    string // as in the flag -work
	Title   string // as in the table, with the numbers that matter
	Server  string // what it needs: see Servers; none if empty
	Figures []Figure
}

// Figure is one thing that is measured of a work.
type Figure struct {
	Name  string
	Unit  string
	More  bool // more is better
	Goals []Goal
}

// Goal bounds the figure of fanfare: as a ratio to that of a peer, or in the unit
// of the figure where Peer is empty. It bounds from below where more is better,
// and else from above.
type Goal struct {
	Peer  string
	Bound float64
}

// Fanfare is the peer that goals are about.
const Fanfare = "fanfare"

// Case is one peer at one work.
type Case struct {
	Work string
	Peer string
	// Run does the work once. It returns a value for each figure of the work.
	Run func(ctx context.Context, env *Env) (Sample, error)
}

// Sample is the figures of one run, by their names.
type Sample map[string]float64

// Find returns the case of a work and a peer.
func (s *Suite) Find(work, peer string) (Case, error) {
	i := slices.IndexFunc(s.Cases, func(c Case) bool { return c.Work == work && c.Peer == peer })
	if i < 0 {
		return Case{}, fmt.Errorf("suite %s has no case %s of peer %s", s.Name, work, peer)
	}
	return s.Cases[i], nil
}

// Peers returns the peers at a work, in the order of the cases.
func (s *Suite) Peers(work string) []string {
	var peers []string
	for _, c := range s.Cases {
		if c.Work == work {
			peers = append(peers, c.Peer)
		}
	}
	return peers
}
