// Package testsvc gives tests real servers: private processes on free loopback
// ports with all their state in a temporary directory. A server dies with the
// test binary that started it, even (on Linux) when that binary is killed.
//
// A server is shared by the tests of one test binary, or private to one test
// that kills, pauses or configures it. Tests that share a server keep apart by
// the names they use, never by a restart. A shared server may trade durability
// for speed; a private one loses nothing committed when it is killed, unless
// its kind or its arguments say otherwise.
//
// Where a server is not installed, the test that asks for it is skipped with
// the cure in the message. With CI=true or FANFARE_TEST_REQUIRE=all it fails
// instead, so that no green run hides a missing server.
//
// The package is for Unix.
package testsvc

import (
	"fmt"
	"os"
	"testing"
)

// Run runs the tests of m, stops the shared servers, and then, if the tests
// passed, calls each of checks. It returns what TestMain passes to os.Exit: the
// code of m, or 1 after an error of a check, which it prints. Checks see no
// goroutine of this package:
//
//	func TestMain(m *testing.M) {
//		os.Exit(testsvc.Run(m, func() error { return goleak.Find() }))
//	}
func Run(m *testing.M, checks ...func() error) int {
	code := m.Run()
	for _, s := range []*shared{&sharedRedis, &sharedMariaDB, &sharedPostgres} {
		s.stop()
	}
	if code != 0 {
		return code
	}
	for _, check := range checks {
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, "after the tests:", err)
			code = 1
		}
	}
	return code
}
