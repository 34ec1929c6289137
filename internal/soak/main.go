// Soak shows that nothing is lost on Redis, whatever fails:
//
//	go run ./internal/soak -minutes 3 -seed 1
//
// It starts a Redis, processes that dispatch and processes that handle, and kills,
// freezes and cuts off all of them at random. What the processes wrote down is
// then audited, and the program exits with 1 if an event was lost, ran early, or
// ran again without a cause. The flags are those of package trial: -h lists them.
package main

import (
	"os"

	"github.com/fanfare-go/fanfare/internal/soak/trial"
)

func main() {
	os.Exit(trial.Main(os.Args[1:], backend))
}
