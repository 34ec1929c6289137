package legacy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const guide = "../docs/migrating.md"

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// TestGuideShowsThisFile holds that what the guide shows as fanfare's code is
// compiled and tested: here, or in module sqltest where it takes a database.
func TestGuideShowsThisFile(t *testing.T) {
	source := read(t, "migrating_test.go") + read(t, "../sqlqueue/sqltest/futurama_test.go")
	blocks := regexp.MustCompile("(?ms)^```go(.*?)\n(.*?)^```$").FindAllStringSubmatch(read(t, guide), -1)
	count := map[string]int{}
	for _, b := range blocks {
		mark, code := strings.TrimSpace(b[1]), b[2]
		count[mark]++
		if mark != "before" && mark != "after" {
			t.Errorf("go block is marked %q, want before or after:\n%s", mark, code)
		}
		if mark == "after" && !strings.Contains(source, code) {
			t.Errorf("not in migrating_test.go or futurama_test.go:\n%s", code)
		}
	}
	if count["before"] < 5 || count["after"] < 5 {
		t.Errorf("blocks = %v, want a before and an after for each of five systems", count)
	}
}

// TestGuideNamesWhatExists holds that the guide tells of nothing that is not
// there: exported names behind their package, and methods behind the letters
// that the guide explains.
func TestGuideNamesWhatExists(t *testing.T) {
	packages := map[string]string{"fanfare": "..", "driver": "../driver", "drivertest": "../drivertest", "sqlqueue": "../sqlqueue", "legacy": "."}
	text, methods := read(t, guide), map[string]bool{}
	for name, dir := range packages {
		declared := declarations(t, dir, methods)
		uses := regexp.MustCompile(`\b`+name+`\.([A-Z]\w*)`).FindAllStringSubmatch(text, -1)
		if len(uses) == 0 {
			t.Errorf("the guide names nothing of %s", name)
		}
		for _, use := range uses {
			if !declared[use[1]] {
				t.Errorf("%s does not exist", use[0])
			}
		}
	}
	for _, use := range regexp.MustCompile("`[dqt]\\.([A-Z]\\w*)").FindAllStringSubmatch(text, -1) {
		if !methods[use[1]] {
			t.Errorf("%s` is no method", use[0])
		}
	}
}

// declarations returns the names that a package declares, and adds those of its
// methods to methods.
func declarations(t *testing.T, dir string, methods map[string]bool) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			declare := names
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					declare = methods
				}
				declare[d.Name.Name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						names[s.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range s.Names {
							names[n.Name] = true
						}
					}
				}
			}
		}
	}
	return names
}
