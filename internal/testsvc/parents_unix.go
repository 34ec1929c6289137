//go:build unix && !linux

package testsvc

import (
	"bytes"
	"fmt"
	"os/exec"
)

// parents returns the parent of each process of this machine.
func parents() (map[int]int, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	parents := map[int]int{}
	for line := range bytes.Lines(out) {
		var pid, parent int
		if _, err := fmt.Sscan(string(line), &pid, &parent); err != nil {
			return nil, fmt.Errorf("ps: %q: %w", line, err)
		}
		parents[pid] = parent
	}
	return parents, nil
}
