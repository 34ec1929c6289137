// Package local compares fanfare in process with its peers.
package local

import "github.com/fanfare-go/fanfare/bench/trial"

// Suite is the works of this package.
var Suite = &trial.Suite{
	Name: "local",
	Works: []trial.Work{
		floodWork("one", "one topic, one handler, 1 producer, 2 workers", oneGoals),
		floodWork("one-2p", "one topic, one handler, 2 producers, 2 workers", oneGoals),
		floodWork("one-w1", "one topic, one handler, 1 producer, 1 worker", nil),
		floodWork("one-w10", "one topic, one handler, 1 producer, 10 workers", nil),
		floodWork("one-few", "the first again, with a tenth of the events", nil),
		floodWork("handlers", "one topic, 10 handlers, 1 producer, 2 workers", channelGoals),
		floodWork("topics", "10 topics of one handler, 1 producer, 2 workers each", channelGoals),
		loneWork,
		pendingWork,
		latenessWork,
		slowWork,
	},
	Cases: cases(),
}

var (
	oneGoals     = []trial.Goal{{Peer: "channel", Bound: 0.6}, {Peer: "kelindar", Bound: 1}}
	channelGoals = []trial.Goal{{Peer: "channel", Bound: 0.6}}
)

// peer is a library, with what makes a bus of it.
type peer struct {
	name string
	open opener
}

var (
	ours   = peer{trial.Fanfare, openFanfare}
	plain  = peer{"channel", openChannel}
	pooled = peer{"ants", openAnts}
	fast   = []peer{ours, plain, {"limit", openLimit}, {"kelindar", openKelindar}, pooled}
	// Those that start goroutines for each event take part with fewer of them.
	spawning = []peer{ours, {"eventbus", openEventBus}, {"gochannel", openGoChannel}}
)

// floods are the cases of the works that floodWork made.
var floods = []struct {
	work  string
	flood flood
	peers []peer
}{
	{"one", flood{setup{1, 1, 2}, 1, 1_000_000}, fast},
	{"one-2p", flood{setup{1, 1, 2}, 2, 1_000_000}, fast},
	{"one-w1", flood{setup{1, 1, 1}, 1, 1_000_000}, []peer{ours, plain}},
	{"one-w10", flood{setup{1, 1, 10}, 1, 1_000_000}, []peer{ours, plain}},
	{"one-few", flood{setup{1, 1, 2}, 1, 100_000}, spawning},
	{"handlers", flood{setup{1, 10, 2}, 1, 200_000}, fast},
	{"topics", flood{setup{10, 1, 2}, 1, 1_000_000}, fast},
}

func cases() (all []trial.Case) {
	for _, f := range floods {
		for _, p := range f.peers {
			all = append(all, trial.Case{Work: f.work, Peer: p.name, Run: f.flood.measure(p.open)})
		}
	}
	for _, p := range append(spawning, fast[1:]...) {
		if p.name != "limit" {
			all = append(all, trial.Case{Work: loneWork.Name, Peer: p.name, Run: loneCase(p.open)})
		}
	}
	for _, p := range []scheduling{{trial.Fanfare, scheduleFanfare}, {"afterfunc", scheduleAfterFunc}} {
		all = append(all,
			trial.Case{Work: pendingWork.Name, Peer: p.name, Run: pendingCase(p.open)},
			trial.Case{Work: latenessWork.Name, Peer: p.name, Run: latenessCase(p.open)})
	}
	for _, p := range []peer{ours, plain, pooled} {
		all = append(all, trial.Case{Work: slowWork.Name, Peer: p.name, Run: slowCase(p.open)})
	}
	return append(all, trial.Case{Work: slowWork.Name, Peer: "limit", Run: slowLimit})
}
