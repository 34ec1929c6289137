package trial

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Env is what a case knows of its run.
type Env struct {
	URL   string  // of an empty server or database
	Scale float64 // of the number of events
	Part  int     // 0, or the number that Spawn was given

	name string // of the suite, the work and the peer, between slashes
}

// N returns how many events to use where n is the usual number.
func (e *Env) N(n int) int { return max(1, int(float64(n)*e.Scale)) }

// Child does what a parent started this process for, and reports whether there
// is such a parent. It is to be called first of all.
func Child(ctx context.Context, suites []*Suite) (bool, error) {
	name := os.Getenv(childVariable)
	if name == "" {
		return false, nil
	}
	env := &Env{name: name}
	flags := flag.NewFlagSet("case", flag.ContinueOnError)
	flags.StringVar(&env.URL, "url", "", "")
	flags.Float64Var(&env.Scale, "scale", 1, "")
	flags.IntVar(&env.Part, "part", 0, "")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return true, err
	}
	words := strings.SplitN(name, "/", 3)
	for _, s := range suites {
		if s.Name != words[0] {
			continue
		}
		c, err := s.Find(words[1], words[2])
		if err != nil {
			return true, err
		}
		sample, err := c.Run(ctx, env)
		if err != nil {
			return true, fmt.Errorf("%s: %w", name, err)
		}
		return true, json.NewEncoder(os.Stdout).Encode(sample)
	}
	return true, fmt.Errorf("no suite %s", words[0])
}

// childVariable names the case in the environment of the process that runs it.
const childVariable = "FANFARE_BENCH_CASE"

// Run runs a case in a new process.
func Run(ctx context.Context, suite, work, peer, url string, scale float64) (Sample, error) {
	env := &Env{URL: url, Scale: scale, name: suite + "/" + work + "/" + peer}
	p, err := env.start(ctx, 0)
	if err != nil {
		return nil, err
	}
	return p.Wait()
}

// Process is a process that runs a case.
type Process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	err   strings.Builder
}

// Spawn runs the case once more, in another process, with another part.
func (e *Env) Spawn(ctx context.Context, part int) (*Process, error) { return e.start(ctx, part) }

func (e *Env) start(ctx context.Context, part int) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{name: e.name}
	p.cmd = exec.CommandContext(ctx, self, "-url", e.URL, "-scale", fmt.Sprint(e.Scale), "-part", fmt.Sprint(part))
	p.cmd.Env = append(os.Environ(), childVariable+"="+e.name)
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// Ready waits until the process says that it is, with [Env.Await].
func (p *Process) Ready() error {
	if _, err := p.out.ReadString('\n'); err != nil {
		return p.failed(errors.Join(err, p.cmd.Wait()))
	}
	return nil
}

// Go lets a process go on that is ready.
func (p *Process) Go() error { return p.stdin.Close() }

// Wait waits for the end of the process and returns its sample.
func (p *Process) Wait() (Sample, error) {
	var s Sample
	err := json.NewDecoder(p.out).Decode(&s)
	if err := errors.Join(err, p.cmd.Wait()); err != nil {
		return nil, p.failed(err)
	}
	return s, nil
}

func (p *Process) failed(err error) error {
	return fmt.Errorf("%s: %w: %s", p.name, err, strings.TrimSpace(p.err.String()))
}

// Await tells the process that spawned this one that it is ready, and waits for
// its go.
func (e *Env) Await() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
