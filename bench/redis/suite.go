// Package redis compares fanfare with its peers.
package redis

import "github.com/fanfare-go/fanfare/bench/trial"

// Suite is the works of this package.
var Suite = &trial.Suite{Name: "redis"}
