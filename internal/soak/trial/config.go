package trial

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Config says how to soak.
type Config struct {
	Seed      uint64
	Time      time.Duration // of dispatching
	Events    int           // ends the dispatching when so many are accepted, if not 0
	Producers int
	Consumers int
	Workers   int // goroutines of a producer that dispatch
	Lease     time.Duration
	Backlog   int           // at which producers pause
	Drain     time.Duration // for which all events may take to end, after the dispatching
	Faults    []string      // of AllFaults
	Often     float64       // how often, compared with what is usual
	Long      int           // of ten thousand runs take longer than a lease
	Mode      string        // of the backend
	Flaw      string        // of the backend
	Dir       string        // for the ledgers; empty for one that is removed
	Output    io.Writer     // for progress
}

// AllFaults are the faults that can be injected, by the names of flags.
var AllFaults = []string{
	"kill-consumer", "stop-consumer", "kill-producer", "freeze", "kill-server", "freeze-server",
	"cut", "cut-server", "forget", "slow", "half-open", "handler",
}

func (c Config) has(fault string) bool { return slices.Contains(c.Faults, fault) }

// DefaultConfig is what a soak does unless flags say otherwise.
func DefaultConfig(b Backend) Config {
	mode := ""
	if len(b.Modes) > 0 {
		mode = b.Modes[0]
	}
	return Config{
		Seed: 1, Time: time.Minute, Producers: 2, Consumers: 3, Workers: 2, Lease: 2 * time.Second,
		Backlog: 3000, Drain: time.Minute, Faults: AllFaults, Often: 1, Long: 3, Mode: mode, Output: io.Discard,
	}
}

// options are what flags set.
type options struct {
	Config
	backend Backend
	json    string
}

// parseFlags returns what the arguments of a program say about one of its
// backends. Those all have the same ModeFlag.
func parseFlags(backends []Backend, args []string, output io.Writer) (options, error) {
	b := backends[0]
	o := options{Config: DefaultConfig(b)}
	o.Mode = ""
	set := flag.NewFlagSet("soak", flag.ContinueOnError)
	set.SetOutput(output)
	minutes := set.Float64("minutes", 1, "for how long to dispatch")
	set.Uint64Var(&o.Seed, "seed", o.Seed, "of the events and the faults")
	set.IntVar(&o.Events, "events", 0, "dispatch until so many are accepted, and no longer than -minutes unless that is not given")
	set.IntVar(&o.Producers, "producers", o.Producers, "processes that dispatch")
	set.IntVar(&o.Consumers, "consumers", o.Consumers, "processes that handle")
	set.DurationVar(&o.Lease, "lease", o.Lease, "of the events")
	set.IntVar(&o.Backlog, "backlog", o.Backlog, "number of ready events at which producers pause")
	set.DurationVar(&o.Drain, "drain", o.Drain, "how long it may take at the end until all events are handled")
	set.Float64Var(&o.Often, "often", o.Often, "how often faults happen, compared with the usual")
	set.IntVar(&o.Long, "long", o.Long, "runs of ten thousand that take longer than a lease")
	faults := set.String("faults", "all", "comma-separated: all, none, or of "+strings.Join(AllFaults, ", "))
	engine := b.Name
	if len(backends) > 1 {
		set.StringVar(&engine, "engine", engine, "the backend: "+listed(backends, func(b Backend) []string { return []string{b.Name} }))
	}
	if b.ModeFlag != "" {
		set.StringVar(&o.Mode, b.ModeFlag, "", "how data is kept, the first if empty: "+listed(backends, func(b Backend) []string { return b.Modes }))
	}
	set.StringVar(&o.Flaw, "break", "", "what is wrong on purpose: "+listed(backends, func(b Backend) []string { return b.Flaws }))
	set.StringVar(&o.json, "json", "", "`file` for the report")
	set.StringVar(&o.Dir, "dir", "", "empty directory for the ledgers, which is kept")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	o.Time = time.Duration(*minutes * float64(time.Minute))
	given := false
	set.Visit(func(f *flag.Flag) { given = given || f.Name == "minutes" })
	if o.Events > 0 && !given {
		o.Time = time.Hour
	}
	switch *faults {
	case "all":
	case "none":
		o.Faults = nil
	default:
		o.Faults = strings.Split(*faults, ",")
	}
	i := slices.IndexFunc(backends, func(b Backend) bool { return b.Name == engine })
	if i < 0 {
		return o, fmt.Errorf("no engine %q", engine)
	}
	o.backend = backends[i]
	if o.Mode == "" {
		o.Mode = DefaultConfig(o.backend).Mode
	}
	return o, o.check(o.backend)
}

// listed joins what the backends have, each once.
func listed(backends []Backend, what func(Backend) []string) string {
	var all []string
	for _, b := range backends {
		for _, w := range what(b) {
			if !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	return strings.Join(all, ", ")
}

func (c Config) check(b Backend) error {
	for _, f := range c.Faults {
		if !slices.Contains(AllFaults, f) {
			return fmt.Errorf("-faults: no %q, want of %v", f, AllFaults)
		}
	}
	if len(b.Modes) > 0 && !slices.Contains(b.Modes, c.Mode) {
		return fmt.Errorf("-%s %q: want one of %v", b.ModeFlag, c.Mode, b.Modes)
	}
	if c.Flaw != "" && !slices.Contains(b.Flaws, c.Flaw) {
		return fmt.Errorf("-break %q: want one of %v", c.Flaw, b.Flaws)
	}
	if c.Producers < 1 || c.Consumers < 1 || c.Workers < 1 || c.Often <= 0 {
		return fmt.Errorf("want at least one producer and one consumer, and -often above 0")
	}
	return nil
}
