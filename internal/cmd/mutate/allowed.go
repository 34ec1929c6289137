package main

import (
	_ "embed" // the allowances
	"fmt"
	"slices"
	"strings"
)

//go:embed allowed.txt
var allowedText string

// allowances are the keys of mutants that may survive.
type allowances map[string]bool

// parseAllowed reads records of a script, a line and what it becomes, each below
// the reason why that does no harm:
//
//	# reason
//	push.lua
//	- old line
//	+ new line
//
// An empty line ends what the reason is for.
func parseAllowed(text string) (allowances, error) {
	all := allowances{}
	script, old, reason := "", "", false
	for n, line := range strings.Split(text, "\n") {
		rest := strings.TrimSpace(strings.TrimLeft(line, "#-+"))
		switch {
		case line == "":
			reason, script, old = false, "", ""
		case line[0] == '#':
			reason = true
		case line[0] == '-':
			old = rest
		case line[0] == '+':
			if !reason || script == "" || old == "" {
				return nil, fmt.Errorf("allowed.txt:%d: want a reason, a script and a line before it", n+1)
			}
			all[mutant{script: script, old: old, new: rest}.key()] = true
		default:
			script = rest
		}
	}
	return all, nil
}

// has reports that a mutant may survive.
func (a allowances) has(m mutant) bool { return a[m.key()] }

// unused returns the allowances that no mutant needs.
func (a allowances) unused(mutants []mutant) []string {
	var left []string
	for key := range a {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.key() == key }) {
			left = append(left, key)
		}
	}
	slices.Sort(left)
	return left
}
