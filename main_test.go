package fanfare_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestMain(m *testing.M) {
	if child := os.Getenv("FANFARE_TEST_CHILD"); child != "" {
		os.Exit(runChild(child))
	}
	os.Exit(testsvc.Run(m, func() error { return goleak.Find() }))
}
