package trial

import (
	"fmt"
	"io"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/ledger"
)

// tally counts, while the soak runs, what the processes write down.
type tally struct {
	dir      string
	files    map[ledger.Role]map[int]*ledger.File
	accepted int
	runs     int
	done     int
}

func newTally(dir string) *tally {
	return &tally{dir: dir, files: map[ledger.Role]map[int]*ledger.File{
		ledger.Producer: {}, ledger.Consumer: {},
	}}
}

// read reads what is new.
func (t *tally) read() error {
	for role, known := range t.files {
		list, err := ledger.List(t.dir, role)
		if err != nil {
			return err
		}
		for _, f := range list {
			if known[f.Process] == nil {
				known[f.Process] = f
			}
			if err := known[f.Process].Read(t.count); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tally) count(r ledger.Record) {
	switch {
	case r.Kind == ledger.Outcome && r.Value != ledger.Unknown && r.Value != ledger.Refused:
		t.accepted += int(r.Count)
	case r.Kind == ledger.Start:
		t.runs++
	case r.Kind == ledger.End && r.Value == ledger.Done:
		t.done++
	}
}

// print writes the line of progress.
func (t *tally) print(to io.Writer, ch *chronicle) {
	faults := 0
	for _, n := range ch.counts() {
		faults += n
	}
	fmt.Fprintf(to, "%5.0fs  %d accepted, %d runs, %d done, %d faults\n",
		ch.now().Round(time.Second).Seconds(), t.accepted, t.runs, t.done, faults)
}
