package sqltest

import (
	"os"
	"testing"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestMain(m *testing.M) {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // of connections that tests cut
	switch {
	case behaviour.IsChild():
		os.Exit(behaviour.RunChild(openFromEnv))
	case os.Getenv(childRole) != "":
		os.Exit(playRole())
	}
	os.Exit(testsvc.Run(m, func() error { return goleak.Find() }))
}
