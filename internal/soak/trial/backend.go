// Package trial runs a soak: producers and consumers as processes of their own
// against a server of their own, with faults injected at random, and an audit of
// what they wrote down.
//
// A program that soaks a backend describes it as a [Backend] and calls [Main].
// Its children are the program again.
package trial

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// Backend is what differs between backends.
type Backend struct {
	Name string
	// Modes are the ways in which it may keep its data, the default first, for the
	// flag ModeFlag; none if there is but one.
	Modes    []string
	ModeFlag string
	// Flaws are the ways in which Open can break a dispatcher, to see whether
	// the audit finds out.
	Flaws []string
	// Slowest is the greatest delay of what goes either way over a slow connection.
	// The promise holds while a lease of 2 s is renewed in a fifth of it, with as many
	// round trips as that takes.
	Slowest time.Duration
	// Start starts a server, or makes the file that processes share, with the
	// groups of nothing in it.
	Start func(ctx context.Context, mode string) (*Server, error)
	// Open opens a dispatcher at an address that Server.Address made, with a flaw
	// unless that is empty, and returns what closes it after its Stop.
	Open func(address, flaw string, opts ...fanfare.Option) (d *fanfare.Durable, closed func() error, err error)
}

// Server is a backend that runs.
type Server struct {
	// Instance is what is killed and frozen; nil where processes share a file.
	Instance *testsvc.Instance
	// Address is what Backend.Open takes to reach the server, where that is found
	// at addr.
	Address func(addr string) string
	// Probe returns when the server has written something down.
	Probe func(ctx context.Context) error
	// Cut kills the connections of all clients; nil where there are none.
	Cut func(ctx context.Context) error
	// Forget makes the server forget what clients must be able to tell it again;
	// nil if there is nothing.
	Forget func(ctx context.Context) error
	// Left lists what is there and should not be, when all events have ended and
	// there are no dead letters.
	Left func(ctx context.Context) ([]string, error)
	// Close ends the server with all that it leaves.
	Close func() error
}

// Topic is the topic of all events of a soak.
const Topic = "soak"

// groups are the groups of the topic, by their numbers.
var groups = [...]string{"first", "second"}
