package testsvc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// parents returns the parent of each process of this machine.
func parents() (map[int]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it ended just now
		}
		// pid (name) state parent …, where name may have parentheses and spaces
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return nil, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
		}
		if parents[pid], err = strconv.Atoi(string(fields[1])); err != nil {
			return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	return parents, nil
}
