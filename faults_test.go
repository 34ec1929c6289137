package fanfare_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The tables of docs/faults.md, each with the number of its rows.
var faultTables = []struct {
	heading string
	rows    int
}{
	{"## Faults", 60},
	{"## Security", 28},
}

// TestFaultsNamesWhatExists holds that docs/faults.md has every row, and that each
// test it names is in the file that it names before.
func TestFaultsNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range faultTables {
		_, section, found := strings.Cut(string(text), "\n"+table.heading+"\n")
		if !found {
			t.Errorf("no section %q", table.heading)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		next := 1
		for line := range strings.Lines(section) {
			cells := strings.Split(line, "|")
			if len(cells) < 4 {
				continue
			}
			n, err := strconv.Atoi(strings.TrimSpace(cells[1]))
			if err != nil { // the head of the table
				continue
			}
			if n != next {
				t.Errorf("%s: row %d follows row %d", table.heading, n, next-1)
			}
			next = n + 1
			checkTests(t, table.heading, n, line)
		}
		if next != table.rows+1 {
			t.Errorf("%s: the last row is %d, want %d", table.heading, next-1, table.rows)
		}
	}
}

// checkTests requires that the tests named in a row are where it says.
func checkTests(t *testing.T, heading string, row int, line string) {
	t.Helper()
	file, isTest := "", regexp.MustCompile(`^(Test|Fuzz|test)[A-Z]\w*$`)
	for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
		switch name := quoted[1]; {
		case strings.HasSuffix(name, ".go"):
			file = name
		case isTest.MatchString(name):
			if !declares(t, file, name) {
				t.Errorf("%s, row %d: no function %s in %q", heading, row, name, file)
			}
		}
	}
}

// declares reports whether a source file has a function.
func declares(t *testing.T, file, function string) bool {
	t.Helper()
	source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return false
	}
	for _, decl := range source.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == function {
			return true
		}
	}
	return false
}
