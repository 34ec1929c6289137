package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events string // one a line: action, test or - for the package, output
		ok     bool
		prints []string
		hides  []string
		end    string // the last lines printed
	}{
		{
			name: "subtests count, their parents do not",
			events: `
				run A
				run A/b
				run A/c/d
				output A/b quiet
				pass A/b
				pass A/c/d
				pass A
				output - ok  example`,
			ok:     true,
			prints: []string{"ok  example"},
			hides:  []string{"quiet"},
			end:    "2 passed, 0 failed, 0 skipped\n",
		}, {
			name: "a failed subtest is one failure",
			events: `
				run A
				run A/b
				run A/c
				output A/b bad news
				fail A/b
				pass A/c
				fail A`,
			prints: []string{"bad news"},
			end:    "1 passed, 1 failed, 0 skipped\n",
		}, {
			name: "a parent that fails by itself",
			events: `
				run A
				run A/b
				pass A/b
				output A bad news
				fail A`,
			prints: []string{"bad news"},
			end:    "1 passed, 1 failed, 0 skipped\n",
		}, {
			name: "the same test again, as with -count",
			events: `
				run A
				run A/b
				pass A/b
				pass A
				run A
				pass A`,
			ok:  true,
			end: "2 passed, 0 failed, 0 skipped\n",
		}, {
			name: "reasons of skips",
			events: `
				run A
				output A     a_test.go:7: a log before
				output A     a_test.go:8: SKIP-BACKEND redis: not installed (apt-get install redis-server)
				output A --- SKIP: A (0.00s)
				skip A
				run B
				output B     b_test.go:9: not today
				skip B
				run C
				output C     b_test.go:9: not today
				skip C
				run D
				skip D`,
			ok: true,
			end: "skipped 1: no reason given\n" +
				"skipped 2: not today\n" +
				"skipped 1: redis: not installed (apt-get install redis-server)\n" +
				"0 passed, 0 failed, 4 skipped\n",
		}, {
			name: "a race reported while another test runs",
			events: `
				run A
				run B
				output A WARNING: DATA RACE
				pass A
				fail B`,
			prints: []string{"WARNING: DATA RACE"},
			end:    "1 passed, 1 failed, 0 skipped\n",
		}, {
			name: "a test that ends the process",
			events: `
				run A
				run A/b
				output A/b panic: in a goroutine
				output - FAIL example
				fail -`,
			prints: []string{"panic: in a goroutine", "A/b (did not finish)", "FAIL example"},
			end:    "0 passed, 1 failed, 0 skipped\n",
		}, {
			name: "a package that fails though its tests pass",
			events: `
				run A
				pass A
				output - found unexpected goroutines
				output - FAIL example
				fail -`,
			prints: []string{"found unexpected goroutines", "FAIL example"},
			end:    "1 passed, 1 failed, 0 skipped\n",
		}, {
			name: "a run that is cut off",
			events: `
				run A
				pass A
				output - the last words
				cut`,
			prints: []string{"the last words", "example [no result"},
			end:    "1 passed, 1 failed, 0 skipped\n",
		}, {
			name: "no test",
			end:  "no test ran\n0 passed, 0 failed, 0 skipped\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			s := newSummary(&out)
			for line := range strings.Lines(tt.events) {
				if e, ok := parseEvent(line); ok {
					s.add(e)
				}
			}
			if !strings.Contains(tt.events, "fail -") && !strings.Contains(tt.events, "cut") {
				s.add(event{Action: "pass", Package: "example"})
			}
			if ok := s.close(); ok != tt.ok {
				t.Errorf("close() = %v, want %v", ok, tt.ok)
			}
			if !strings.HasSuffix(out.String(), tt.end) {
				t.Errorf("prints\n%s\nwant the end\n%s", &out, tt.end)
			}
			for _, want := range tt.prints {
				if strings.Count(out.String(), want) != 1 {
					t.Errorf("prints\n%s\nwant %q once", &out, want)
				}
			}
			for _, hidden := range tt.hides {
				if strings.Contains(out.String(), hidden) {
					t.Errorf("prints\n%s\nwant no %q", &out, hidden)
				}
			}
		})
	}
}

func parseEvent(line string) (e event, ok bool) {
	line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t")
	action, rest, ok := strings.Cut(line, " ")
	if !ok {
		return e, false
	}
	test, output, _ := strings.Cut(rest, " ")
	if test == "-" {
		test = ""
	}
	return event{Action: action, Package: "example", Test: test, Output: output + "\n"}, true
}

// TestRead holds that lines of others pass through, however the input ends.
func TestRead(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	in := "go: downloading something\n\n" +
		`{"Action":"run","Package":"p","Test":"A"}` + "\n" +
		`{"Action":"output","Package":"p","Test":"A","Output":"` + long + `\n"}` + "\n" +
		`{"Action":"fail","Package":"p","Test":"A"}` + "\n" +
		`{"Action":"fail","Package":"p"}` + "\n" +
		`{"Action":"ru`
	var out bytes.Buffer
	s := newSummary(&out)
	if err := s.read(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	s.close()
	want := "go: downloading something\n" + long + "\n" + `{"Action":"ru` + "\n0 passed, 1 failed, 0 skipped\n"
	if out.String() != want {
		t.Errorf("read printed %d bytes, want %d", out.Len(), len(want))
	}
}

// TestGo reads what the go command at hand really writes.
func TestGo(t *testing.T) {
	dir := t.TempDir()
	for name, source := range map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.25\n",
		"mixed/a_test.go": `package a
			import "testing"
			func TestPass(t *testing.T) { t.Log("quiet") }
			func TestSkip(t *testing.T) { t.Skip("no reason at all") }
			func TestFail(t *testing.T) { t.Run("sub", func(t *testing.T) { t.Error("bad news") }) }`,
		"panics/a_test.go": `package a
			import "testing"
			func TestPass(t *testing.T) {}
			func TestPanic(t *testing.T) { go panic("oh no"); select {} }`,
		"leaks/a_test.go": `package a
			import ("os"; "testing")
			func TestMain(m *testing.M) { m.Run(); println("leak found"); os.Exit(1) }
			func TestPass(t *testing.T) {}`,
		"broken/a_test.go": `package a
			func init() { undefinedName() }`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "-vet=off", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	events, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatalf("go test: %v, want a failure", err)
	}

	var out bytes.Buffer
	s := newSummary(&out)
	if err := s.read(bytes.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if s.close() {
		t.Error("close() = true, want false")
	}
	for _, want := range []string{
		"bad news", "panic: oh no", "leak found", "undefined: undefinedName",
		"FAIL\texample.com/m/mixed", "FAIL\texample.com/m/broken [build failed]",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("prints no %q", want)
		}
	}
	end := "\nskipped 1: no reason at all\n3 passed, 4 failed, 1 skipped\n"
	if !strings.HasSuffix(out.String(), end) || strings.Contains(out.String(), "quiet") {
		t.Errorf("prints\n%s\nwant the end\n%s", &out, end)
	}
}
