package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string // empty for an event of the package
	Output  string
}

// summary turns events into what testsum prints.
type summary struct {
	out io.Writer

	passed, failed, skipped int

	reasons map[string]int  // of skips, and how often
	running map[string]*run // by import path
}

// run is a package whose tests run.
type run struct {
	output strings.Builder
	tests  map[string]*test // those without a result yet
	failed bool             // a test of it failed
}

// test is a test that runs.
type test struct {
	output strings.Builder
	parent bool // it has subtests
	failed bool // one of them failed
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, reasons: map[string]int{}, running: map[string]*run{}}
}

// read takes in events up to the end of in. A line that is no event is the
// voice of something else, and printed.
func (s *summary) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case json.Unmarshal(line, &e) != nil:
			fmt.Fprintf(s.out, "%s\n", bytes.TrimRight(line, "\n"))
		default:
			s.add(e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) add(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(s.out, e.Output)
	}
	if e.Package == "" { // of a build: the packages that need it fail too
		return
	}
	r := s.running[e.Package]
	if r == nil {
		r = &run{tests: map[string]*test{}}
		s.running[e.Package] = r
	}
	if e.Test == "" {
		s.addToPackage(e, r)
		return
	}
	s.addToTest(e, r)
}

func (s *summary) addToPackage(e event, r *run) {
	switch e.Action {
	case "output":
		r.output.WriteString(e.Output)
		return
	case "fail":
		s.failPackage(r)
	case "pass", "skip":
		s.abandon(r)
		fmt.Fprint(s.out, lastLine(r.output.String()))
	default:
		return
	}
	delete(s.running, e.Package)
}

func (s *summary) addToTest(e event, r *run) {
	t := r.tests[e.Test]
	if t == nil {
		t = &test{}
		r.tests[e.Test] = t
		if parent := r.parent(e.Test); parent != nil {
			parent.parent = true
		}
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
		return
	case "fail":
		s.failTest(r, e.Test)
	case "pass":
		// A race fails the test that runs when it is found; the report may be here.
		if strings.Contains(t.output.String(), "WARNING: DATA RACE") {
			fmt.Fprint(s.out, t.output.String())
		}
		if !t.parent {
			s.passed++
		}
	case "skip":
		if !t.parent {
			s.skipped++
			s.reasons[reason(t.output.String())]++
		}
	default:
		return
	}
	delete(r.tests, e.Test)
}

// failTest prints what a running test wrote, and counts it unless the failure
// is that of a subtest.
func (s *summary) failTest(r *run, name string) {
	t := r.tests[name]
	fmt.Fprint(s.out, t.output.String())
	if !t.failed {
		s.failed++
	}
	r.failed = true
	if parent := r.parent(name); parent != nil {
		parent.failed = true
	}
}

func (s *summary) failPackage(r *run) {
	s.abandon(r)
	fmt.Fprint(s.out, r.output.String())
	if !r.failed {
		s.failed++
	}
}

// abandon fails the tests of r that have no result: the process ended in them.
func (s *summary) abandon(r *run) {
	names := slices.Sorted(maps.Keys(r.tests))
	for _, name := range slices.Backward(names) { // subtests before their parent
		s.failTest(r, name)
		fmt.Fprintf(s.out, "--- FAIL: %s (did not finish)\n", name)
	}
	clear(r.tests)
}

// close prints the end of the summary and reports whether all is well.
func (s *summary) close() bool {
	for _, name := range slices.Sorted(maps.Keys(s.running)) {
		s.failPackage(s.running[name])
		fmt.Fprintf(s.out, "FAIL\t%s [no result: the run was cut off]\n", name)
	}
	ran := s.passed+s.failed+s.skipped > 0
	if !ran {
		fmt.Fprintln(s.out, "no test ran")
	}
	for _, reason := range slices.Sorted(maps.Keys(s.reasons)) {
		fmt.Fprintf(s.out, "skipped %d: %s\n", s.reasons[reason], reason)
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	return ran && s.failed == 0
}

// parent returns the running test that name is a subtest of, or nil. A name
// given to t.Run may have slashes of its own.
func (r *run) parent(name string) *test {
	for {
		slash := strings.LastIndexByte(name, '/')
		if slash < 0 {
			return nil
		}
		name = name[:slash]
		if t := r.tests[name]; t != nil {
			return t
		}
	}
}

// logged matches a line that a test wrote with t.Log or t.Skip.
var logged = regexp.MustCompile(`^\s+\S+\.go:\d+: (.*)`)

// reason returns why a test was skipped: the last thing it logged.
func reason(output string) string {
	why := "no reason given"
	for line := range strings.Lines(output) {
		if m := logged.FindStringSubmatch(line); m != nil {
			why = strings.TrimPrefix(m[1], "SKIP-BACKEND ")
		}
	}
	return why
}

func lastLine(s string) string {
	return s[strings.LastIndexByte(strings.TrimRight(s, "\n"), '\n')+1:]
}
