package sqltest

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestMain(m *testing.M) {
	os.Exit(testsvc.Run(m, func() error { return goleak.Find() }))
}
