package fanfare_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestMain(m *testing.M) {
	if behaviour.IsChild() {
		os.Exit(behaviour.RunChild(openFromEnv))
	}
	os.Exit(testsvc.Run(m, func() error { return goleak.Find() }))
}
