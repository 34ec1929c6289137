// Soak shows that nothing is lost in a SQL database, whatever fails:
//
//	go run -C sqlqueue/sqltest ./soak -engine postgres -minutes 1 -seed 1
//
// It is internal/soak with MariaDB, PostgreSQL or SQLite in the place of Redis. A
// hundred thousand events, with nothing but consumers that are killed:
//
//	go run -C sqlqueue/sqltest ./soak -engine mariadb -events 100000 -consumers 2 -faults kill-consumer
package main

import (
	"os"

	"github.com/fanfare-go/fanfare/internal/soak/trial"
)

func main() {
	os.Exit(trial.Main(os.Args[1:], backends...))
}
