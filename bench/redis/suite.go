// Package redis compares fanfare on Redis with its peers, and with the least that
// any such system has to ask of the server.
package redis

import (
	"slices"

	"github.com/fanfare-go/fanfare/bench/server"
	"github.com/fanfare-go/fanfare/bench/trial"
)

// Suite is the works of this package.
var Suite = &trial.Suite{
	Name: "redis",
	Works: []trial.Work{
		{Name: "dispatch-1", Title: "dispatch, 1 caller", Server: server.Redis, Figures: rate(over(asynq, 1.2))},
		{Name: "dispatch-10", Title: "dispatch, 10 callers", Server: server.Redis, Figures: rate(over(asynq, 3))},
		{Name: "dispatch-100", Title: "dispatch, 100 callers", Server: server.Redis, Figures: rate(over(asynq, 4))},
		{Name: "batch", Title: "dispatch in batches of 100, 1 caller", Server: server.Redis, Figures: rate(over(limit, 0.7))},
		{Name: "drain", Title: "drain 50,000, 10 handlers", Server: server.Redis, Figures: rate(over(asynq, 10), over(work, 4), over(limit, 0.6))},
		{Name: "drain-2", Title: "drain 50,000, 2 processes with 10 handlers", Server: server.Redis, Figures: rate(over(asynq, 10), over(work, 4), over(limit, 0.6))},
		{Name: "through", Title: "20,000 from 10 callers to 10 handlers", Server: server.Redis, Figures: rate(over(asynq, 8))},
		{Name: "pick-up", Title: "dispatch of a lone event to its handler", Server: server.Redis, Figures: spread(1, 5)},
		{Name: "delayed", Title: "1,000 delayed events, due over 5 s: lateness", Server: server.Redis, Figures: append(spread(2, 5),
			trial.Figure{Name: "early", Unit: "events", Goals: []trial.Goal{{Bound: 0}}})},
		{Name: "idle", Title: "idle consumer of one topic", Server: server.Redis, Figures: []trial.Figure{
			{Name: "sent", Unit: "commands/s", Goals: []trial.Goal{{Bound: 1}}},
			{Name: "run", Unit: "commands/s, with those in scripts"},
		}},
		{Name: "memory", Title: "one of 20,000 waiting events of 100 bytes", Server: server.Redis, Figures: []trial.Figure{
			{Name: "bytes", Unit: "B", Goals: []trial.Goal{{Bound: 350}}},
		}},
		{Name: "depth", Title: "drain 10,000 in front of 200,000 delayed events, compared with 1,000", Server: server.Redis, Figures: []trial.Figure{
			{Name: "ratio", Unit: "times", Goals: []trial.Goal{{Bound: 1.5}}},
		}},
		{Name: "always-1", Title: "appendfsync always: dispatch, 1 caller", Server: server.RedisAlways, Figures: rate()},
		{Name: "always-10", Title: "appendfsync always: dispatch, 10 callers", Server: server.RedisAlways, Figures: rate()},
		{Name: "always-100", Title: "appendfsync always: dispatch, 100 callers", Server: server.RedisAlways, Figures: rate()},
		{Name: "always-drain", Title: "appendfsync always: drain 10,000, 10 handlers", Server: server.RedisAlways, Figures: rate()},
	},
	Cases: slices.Concat(
		cases("dispatch-1", dispatch(1, 10_000), ours, asynq, asynqBest, work, stream, limit),
		cases("dispatch-10", dispatch(10, 20_000), ours, asynq, asynqBest, work, stream, limit),
		cases("dispatch-100", dispatch(100, 20_000), ours, asynq, asynqBest, work, stream, limit),
		cases("batch", dispatchBatch, ours, limit),
		cases("drain", drain(50_000), ours, asynq, asynqBest, work, stream, limit),
		cases("drain-2", drainTogether(2, 50_000), ours, asynq, asynqBest, work, stream, limit),
		cases("through", through(10, 20_000), ours, asynq, asynqBest, work, stream),
		cases("pick-up", pickUp, ours, asynq, asynqBest, work, stream),
		cases("delayed", delayed, ours, asynq, asynqBest, work),
		cases("idle", idle, ours, asynq, asynqBest, work, stream),
		cases("memory", memory, ours, asynq, work, stream, limit),
		cases("depth", depth(1_000, 200_000, 10_000), ours),
		cases("always-1", dispatch(1, 1_000), ours, asynq, limit),
		cases("always-10", dispatch(10, 5_000), ours, asynq, limit),
		cases("always-100", dispatch(100, 20_000), ours, asynq, limit),
		cases("always-drain", drain(10_000), ours, asynq, limit),
	),
}

// rate is the figure of a work in which so many events are counted in a second.
func rate(goals ...trial.Goal) []trial.Figure {
	return []trial.Figure{{Name: "rate", Unit: "events/s", More: true, Goals: goals}}
}

// over is the goal to be so many times as fast as a peer.
func over(p peer, times float64) trial.Goal { return trial.Goal{Peer: p.name, Bound: times} }

// spread is the figures of a work that measures a time of each event, with the
// greatest that they may be, in ms.
func spread(p50, p99 float64) []trial.Figure {
	return []trial.Figure{
		{Name: "p50", Unit: "ms", Goals: []trial.Goal{{Bound: p50}}},
		{Name: "p99", Unit: "ms", Goals: []trial.Goal{{Bound: p99}}},
	}
}
