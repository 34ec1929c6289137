package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// scriptsEnv names the directory from which the tests take the scripts.
const scriptsEnv = "FANFARE_TEST_LUA"

// unitFiles are where the tests are that look at one script at a time.
var unitFiles = []string{
	"redis_test.go", "rediscrash_test.go", "redisedge_test.go", "redisextend_test.go", "redisfault_test.go",
	"redisgroupfault_test.go", "redisinstant_test.go", "redispurge_test.go", "redispush_test.go", "redisrecord_test.go",
	"redisscript_test.go",
	"redisstale_test.go",
	"rediswake_test.go",
}

// newStages returns the runs of the tests, those first that take the least time for
// what they find. The state machine has seeds, so that a mutant always fares alike.
func newStages() ([]stage, error) {
	units, err := testsIn(unitFiles)
	if err != nil {
		return nil, err
	}
	const machine, skipped = "^TestRedisStateMachine$", "^(TestRedisBroker|TestRedisBrokerWithLeastPrivilege)$"
	return []stage{
		{"machine", []string{"-test.run=" + machine, "-rapid.checks=40", "-rapid.seed=7"}},
		{"unit", []string{"-test.run=^(" + strings.Join(units, "|") + ")$", "-test.skip=" + skipped}},
		{"conformance", []string{"-test.run=^TestRedisBroker$"}},
		{"long machine", []string{"-test.run=" + machine, "-rapid.checks=150", "-rapid.seed=11"}},
	}, nil
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsIn returns the names of the tests in files.
func testsIn(files []string) ([]string, error) {
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names, nil
}

// timeUp is what notices a mutant that loops for ever, or has a test wait for ever.
const timeUp = "the time limit"

// limit is how long a stage may take.
const limit = time.Minute

var lockStages = []stage{
	{"locks", []string{"-test.run=Lock", "-test.skip=Miniredis"}},
}

type stage struct {
	name string
	args []string
}

// result is what became of a mutant.
type result struct {
	survived bool
	by       string // which tests noticed it
	err      error
}

func (r result) String() string {
	if r.survived {
		return "SURVIVES"
	}
	return "killed by " + r.by
}

// test runs the stages until one notices the mutant. One that is excused survives
// without.
func (l *laboratory) test(ctx context.Context, m mutant, excused bool) result {
	if excused {
		return result{survived: true}
	}
	dir, err := os.MkdirTemp(l.dir, "lua")
	if err != nil {
		return result{err: err}
	}
	defer os.RemoveAll(dir)
	for name, text := range l.scripts {
		if name == m.script {
			text = m.text
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return result{err: err}
		}
	}
	some := l.stages
	if strings.HasPrefix(m.script, "lock") {
		some = lockStages
	}
	for _, s := range some {
		by, err := l.run(ctx, s, dir)
		if by != "" || err != nil {
			return result{by: s.name + ": " + by, err: err}
		}
	}
	return result{survived: true}
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (.*) \(`)

// run returns which tests of a stage failed, or "".
func (l *laboratory) run(ctx context.Context, s stage, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := append([]string{"-test.failfast", "-test.count=1", "-rapid.shrinktime=1ms", "-rapid.nofailfile"}, s.args...)
	cmd := exec.CommandContext(ctx, l.binary, args...)
	cmd.Env = append(os.Environ(), scriptsEnv+"="+dir, "CI=true")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", nil
	}
	if ctx.Err() != nil {
		return timeUp, nil
	}
	if exit := (&exec.ExitError{}); !errors.As(err, &exit) {
		return "", fmt.Errorf("run the tests: %w", err)
	}
	var names []string
	for _, m := range failed.FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) == 0 {
		return "a crash: " + string(out[:min(len(out), 300)]), nil
	}
	return names[len(names)-1], nil
}
