// Bench measures fanfare and its peers at the same work, in the same run and on
// the same servers, and prints a table of ratios:
//
//	go run -C bench .                     all
//	go run -C bench . -suite redis -work drain -peers fanfare,asynq -rounds 3
//
// Each figure is the median of several rounds. In a round each peer does the work
// once, in a process of its own and, where it needs one, with an empty server or
// database; rounds are interleaved and begin with another peer each. Nothing else
// should run meanwhile.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/fanfare-go/fanfare/bench/local"
	"github.com/fanfare-go/fanfare/bench/redis"
	"github.com/fanfare-go/fanfare/bench/report"
	"github.com/fanfare-go/fanfare/bench/server"
	"github.com/fanfare-go/fanfare/bench/sql"
	"github.com/fanfare-go/fanfare/bench/trial"
)

var suites = []*trial.Suite{local.Suite, redis.Suite, sql.Suite}

// choice is what to run, as the flags say. An empty list is all.
type choice struct {
	suites, works, peers []string
	scale                float64
	rounds               int
	json                 string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	child, err := trial.Child(ctx, suites)
	if !child {
		err = parent(ctx)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parent(ctx context.Context) error {
	c, err := parse(os.Args[1:])
	if err != nil {
		return err
	}
	r := &report.Report{Machine: machine(), Command: strings.Join(append([]string{"go run -C bench ."}, os.Args[1:]...), " "), Rounds: c.rounds}
	var servers server.Servers
	err = errors.Join(c.run(ctx, &servers, r), servers.Close())
	if c.json != "" {
		text, _ := json.MarshalIndent(r, "", "\t")
		err = errors.Join(err, os.WriteFile(c.json, append(text, '\n'), 0o644))
	}
	return errors.Join(err, r.Markdown(os.Stdout))
}

func parse(args []string) (c choice, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	list := func(to *[]string, name, usage string) {
		flags.Func(name, usage+", separated by commas", func(text string) error {
			*to = strings.Split(text, ",")
			return nil
		})
	}
	list(&c.suites, "suite", "suites: local, redis, sql")
	list(&c.works, "work", "works by their names, as in the progress line")
	list(&c.peers, "peers", "peers; fanfare is one")
	flags.Float64Var(&c.scale, "n", 1, "how many events, compared with the usual number")
	flags.IntVar(&c.rounds, "rounds", 5, "rounds, of which the median counts")
	flags.StringVar(&c.json, "json", "", "`file` for all samples")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 || c.rounds < 1 || c.scale <= 0 {
		return c, errors.New("want flags, at least one round, and a number of events above 0")
	}
	return c, nil
}

func (c choice) run(ctx context.Context, servers *server.Servers, r *report.Report) error {
	for _, s := range suites {
		for _, w := range s.Works {
			if !chosen(c.suites, s.Name) || !chosen(c.works, w.Name) {
				continue
			}
			samples, err := c.compare(ctx, servers, s, w)
			if err != nil {
				return err
			}
			r.Add(s, w, samples)
		}
	}
	return nil
}

func chosen(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }

// compare lets all peers do one work, round after round.
func (c choice) compare(ctx context.Context, servers *server.Servers, s *trial.Suite, w trial.Work) (map[string][]trial.Sample, error) {
	samples := map[string][]trial.Sample{}
	peers := slices.DeleteFunc(s.Peers(w.Name), func(p string) bool { return !chosen(c.peers, p) })
	for round := range c.rounds {
		for i := range peers {
			peer := peers[(i+round)%len(peers)]
			fmt.Fprintf(os.Stderr, "\r\033[Kround %d of %d: %s %s %s", round+1, c.rounds, s.Name, w.Name, peer)
			url, err := servers.Fresh(ctx, w.Server)
			if err != nil {
				return nil, err
			}
			sample, err := trial.Run(ctx, s.Name, w.Name, peer, url, c.scale)
			if err != nil {
				return nil, err
			}
			samples[peer] = append(samples[peer], sample)
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	return samples, nil
}
