// Package report makes tables of what was measured.
package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfare-go/fanfare/bench/trial"
)

// Report is what a run of the benchmarks found.
type Report struct {
	Machine map[string]string `json:"machine"` // and versions and settings, by name
	Command string            `json:"command"`
	Rounds  int               `json:"rounds"`
	Rows    []Row             `json:"rows"`
}

// Row is one figure of a work, of all peers.
type Row struct {
	Suite, Work, Title string
	Figure, Unit       string
	More               bool               `json:"moreIsBetter"`
	Median             map[string]float64 // by peer
	Samples            map[string][]float64
	Ratios             map[string]float64 // fanfare to the peer
	Goals              []Judgement
	peers              []string
}

// Judgement is a goal and what became of it.
type Judgement struct {
	trial.Goal
	Got float64
	Met bool
}

// Add adds the samples of a work, by peer.
func (r *Report) Add(s *trial.Suite, w trial.Work, samples map[string][]trial.Sample) {
	for _, f := range w.Figures {
		row := Row{
			Suite: s.Name, Work: w.Name, Title: w.Title, Figure: f.Name, Unit: f.Unit, More: f.More,
			Median: map[string]float64{}, Samples: map[string][]float64{}, Ratios: map[string]float64{},
		}
		for _, peer := range s.Peers(w.Name) {
			for _, sample := range samples[peer] {
				if v, ok := sample[f.Name]; ok {
					row.Samples[peer] = append(row.Samples[peer], v)
				}
			}
			if len(row.Samples[peer]) > 0 {
				row.peers = append(row.peers, peer)
				row.Median[peer] = median(row.Samples[peer])
			}
		}
		row.compare(f)
		r.Rows = append(r.Rows, row)
	}
}

func (row *Row) compare(f trial.Figure) {
	ours, measured := row.Median[trial.Fanfare]
	if !measured {
		return
	}
	for _, peer := range row.peers {
		if peer != trial.Fanfare && row.Median[peer] != 0 {
			row.Ratios[peer] = ours / row.Median[peer]
		}
	}
	for _, g := range f.Goals {
		got := ours
		if g.Peer != "" {
			var ok bool
			if got, ok = row.Ratios[g.Peer]; !ok {
				continue // that peer did not take part
			}
		}
		met := got <= g.Bound
		if f.More {
			met = got >= g.Bound
		}
		row.Goals = append(row.Goals, Judgement{g, got, met})
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Markdown writes a table for each suite.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	suite := ""
	for _, row := range r.Rows {
		if row.Suite != suite {
			suite = row.Suite
			fmt.Fprintf(&b, "\n### %s\n\n| work | figure | fanfare | others (ours is that many times theirs) | goal |\n|---|---|---|---|---|\n", suite)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Title, row.figure(), row.ours(), row.others(), row.goals())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (row *Row) figure() string {
	if row.More {
		return row.Figure + ", " + row.Unit + " ↑"
	}
	return row.Figure + ", " + row.Unit + " ↓"
}

func (row *Row) ours() string {
	if v, ok := row.Median[trial.Fanfare]; ok {
		return number(v)
	}
	return ""
}

func (row *Row) others() string {
	var others []string
	for _, peer := range row.peers {
		if peer == trial.Fanfare {
			continue
		}
		text := peer + " " + number(row.Median[peer])
		if ratio, ok := row.Ratios[peer]; ok {
			text += " (" + number(ratio) + "×)"
		}
		others = append(others, text)
	}
	return strings.Join(others, "; ")
}

func (row *Row) goals() string {
	var goals []string
	for _, g := range row.Goals {
		sign, word := "≤", "met"
		if row.More {
			sign = "≥"
		}
		if !g.Met {
			word = "**missed**"
		}
		text := sign + " " + number(g.Bound)
		if g.Peer != "" {
			text += "× " + g.Peer
		}
		goals = append(goals, text+": "+word)
	}
	return strings.Join(goals, "; ")
}

// number writes three digits that matter.
func number(v float64) string {
	switch {
	case v >= 1000:
		digits := strconv.FormatFloat(v, 'f', 0, 64)
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
		return digits
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
