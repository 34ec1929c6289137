// Command mutate makes mistakes in the Lua scripts, one at a time, and requires
// that a test notices each. Without arguments it does so for all scripts:
//
//	go run ./internal/cmd/mutate [-list] [-v] [-p 2] [push.lua ...]
//
// It runs in the root of the module. The test binary is compiled once and takes
// the scripts from a directory. A mutant that no test notices survives: it is
// printed, and the exit status is 1, unless allowed.txt says why it does no harm.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"time"
)

func main() {
	list := flag.Bool("list", false, "print the mutants and run nothing")
	verbose := flag.Bool("v", false, "print which tests notice the mutants")
	parallel := flag.Int("p", 2, "how many mutants are tested at a time")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survived, err := run(ctx, *list, *verbose, *parallel, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if survived > 0 {
		os.Exit(1)
	}
}

// run returns how many mutants survived that are not allowed to.
func run(ctx context.Context, list, verbose bool, parallel int, only []string) (int, error) {
	scripts, err := readScripts("lua")
	if err != nil {
		return 0, err
	}
	allowed, err := parseAllowed(allowedText)
	if err != nil {
		return 0, err
	}
	var mutants []mutant
	if len(only) == 0 {
		only = scripts.names()
	}
	for _, name := range only {
		if scripts[name] == "" {
			return 0, fmt.Errorf("there is no script %q", name)
		}
		mutants = append(mutants, mutate(name, scripts[name])...)
	}
	if list {
		for _, m := range mutants {
			fmt.Println(m)
		}
		fmt.Println(len(mutants), "mutants")
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	stages, err := newStages()
	if err != nil {
		return 0, err
	}
	l := &laboratory{dir: dir, binary: filepath.Join(dir, "fanfare.test"), scripts: scripts, stages: stages}
	if err := l.prepare(ctx); err != nil {
		return 0, err
	}
	if len(only) == len(scripts) {
		for _, a := range allowed.unused(mutants) {
			fmt.Printf("allowed.txt: there is no such mutant:\n%s\n", a)
		}
	}
	return report(ctx, l, mutants, allowed, verbose, parallel)
}

// report tests the mutants and prints what became of them.
func report(ctx context.Context, l *laboratory, mutants []mutant, allowed allowances, verbose bool, parallel int) (int, error) {
	start := time.Now()
	results := make([]result, len(mutants))
	next := make(chan int)
	var working sync.WaitGroup
	for range parallel {
		working.Go(func() {
			for i := range next {
				results[i] = l.test(ctx, mutants[i], allowed.has(mutants[i]))
				if r := results[i]; r.err == nil && (verbose || r.survived && !allowed.has(mutants[i])) {
					fmt.Printf("%s\n  %s\n", mutants[i], r)
				}
				if (i+1)%100 == 0 {
					fmt.Printf("mutant %d of %d\n", i+1, len(mutants))
				}
			}
		})
	}
	for i := range mutants {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	working.Wait()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	survived, excused := 0, 0
	for i, r := range results {
		switch {
		case r.err != nil:
			return 0, r.err
		case r.survived && allowed.has(mutants[i]):
			excused++
		case r.survived:
			survived++
		}
	}
	fmt.Printf("%d mutants: %d killed, %d survive with a reason, %d survive; %v\n",
		len(mutants), len(mutants)-survived-excused, excused, survived, time.Since(start).Round(time.Second))
	return survived, nil
}

// laboratory is where mutants are tested.
type laboratory struct {
	dir     string
	binary  string
	scripts scripts
	stages  []stage
}

// prepare compiles the tests and requires that they pass without a mutant.
func (l *laboratory) prepare(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", l.binary, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the tests: %w\n%s", err, out)
	}
	for _, name := range []string{"push.lua", "lockacquire.lua"} {
		r := l.test(ctx, mutant{script: name, text: l.scripts[name]}, false)
		if r.err != nil {
			return r.err
		}
		if !r.survived {
			return fmt.Errorf("the tests fail without a mutant: %s", r)
		}
	}
	return nil
}
