package driver

import (
	"context"
	"fmt"
)

// Assessor is the ability to find out what becomes of accepted messages when
// the backend crashes, as it is configured at the moment.
type Assessor interface {
	// Durability asks the backend. What it refuses to tell, or does not know,
	// is DurabilityUnknown with a reason and no error: an error means that it
	// could not be asked. It is called every half a minute, so it is cheap.
	Durability(ctx context.Context) (Durability, error)
}

// Durability is what becomes of accepted messages when a backend crashes.
type Durability struct {
	Level DurabilityLevel
	// Replicas is how many replicas have a message before it is accepted.
	Replicas int
	// Reasons are the settings that decide, each with what follows from it and
	// what would be better. No secret is in them.
	Reasons []string
}

// DurabilityLevel orders durabilities by what the backend loses at worst of what
// it has accepted. Each level includes what the lower ones say, but for
// DurabilityUnknown. Processes that dispatch and handle may be killed at all of
// them.
type DurabilityLevel int8

// The levels, the worst one first. The zero value is DurabilityUnknown.
const (
	// DurabilityNone: the backend may throw messages away though nothing crashed.
	DurabilityNone DurabilityLevel = iota - 1
	// DurabilityUnknown: it cannot be found out.
	DurabilityUnknown
	// DurabilityProcess: a crash of the server or its machine may lose all.
	DurabilityProcess
	// DurabilitySnapshot: a crash loses what came since the server, or the
	// system below it, last wrote to the disk: up to minutes.
	DurabilitySnapshot
	// DurabilitySeconds: a crash loses the last seconds.
	DurabilitySeconds
	// DurabilitySynced: a crash loses nothing. A message is on the disk before it
	// is accepted.
	DurabilitySynced
)

var durabilityNames = [...]string{"none", "unknown", "process", "snapshot", "seconds", "synced"}

// String returns the last word of the level's name: "synced".
func (l DurabilityLevel) String() string {
	if l < DurabilityNone || l > DurabilitySynced {
		return fmt.Sprintf("level %d", int8(l))
	}
	return durabilityNames[l-DurabilityNone]
}
