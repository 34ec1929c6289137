// Command testsum reads the output of go test -json, of one run or of several
// one after the other, and prints what a reader needs of it: a line for each
// package, all output of what failed, and the reason of each skip. The last
// line is
//
//	N passed, N failed, N skipped
//
// It counts tests, examples and fuzz targets. One with subtests counts as its
// subtests, or as one failure if it fails although none of them does. A package
// that fails although no test of it does (it does not build, TestMain fails, a
// goroutine leaks) counts as one failure, and so does a test or a package that
// started and never reported a result. Benchmarks never do: a run with -bench
// is not for testsum.
//
// The exit status is 1 if anything failed or nothing ran. It does not speak for
// go test: a pipeline needs pipefail too.
package main

import (
	"fmt"
	"os"
)

func main() {
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		s.failed++
	}
	if !s.close() {
		os.Exit(1)
	}
}
