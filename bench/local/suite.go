// Package local compares fanfare with its peers.
package local

import "github.com/fanfare-go/fanfare/bench/trial"

// Suite is the works of this package.
var Suite = &trial.Suite{Name: "local"}
