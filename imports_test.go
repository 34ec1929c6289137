package fanfare_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fanfare-go/fanfare"

// TestImports holds the arrows between the packages: what each may import
// beside the standard library, outside its tests.
func TestImports(t *testing.T) {
	arrows := []struct {
		dir string // and all below it, if it ends in /...
		may []string
	}{
		{dir: "driver"},
		{dir: "drivertest", may: []string{module + "/driver"}},
		{dir: ".", may: []string{
			module + "/driver",
			"github.com/gomodule/redigo/...",
			"golang.org/x/sync/...",
			"github.com/google/uuid",
		}},
		{dir: "middleware/...", may: []string{module}},
		{dir: "sqlqueue", may: []string{module + "/driver"}},
		{dir: "sqlqueue/pgxlisten", may: []string{"github.com/jackc/pgx/v5/..."}},
		{dir: "internal/behaviour", may: []string{module, module + "/driver", "github.com/stretchr/testify/..."}},
		{dir: "internal/statemachine", may: []string{module + "/driver", "pgregory.net/rapid"}},
	}
	files := parseModule(t)
	if !slices.ContainsFunc(files, func(f file) bool { return f.dir == "driver" }) {
		t.Error("no Go file in driver: is this the root of the module?")
	}
	for _, f := range files {
		for _, a := range arrows {
			if !matches(a.dir, f.dir) {
				continue
			}
			for _, imported := range f.imports {
				if !standard(imported) && !slices.ContainsFunc(a.may, func(p string) bool { return matches(p, imported) }) {
					t.Errorf("%s imports %s, want only the standard library and %v", f.path, imported, a.may)
				}
			}
		}
	}
}

// TestServersStayInTests holds that no product code starts servers; the programs
// of the soak do.
func TestServersStayInTests(t *testing.T) {
	for _, f := range parseModule(t) {
		if f.below("example", "bench", "cmd", "internal/soak", "sqlqueue/sqltest/soak") {
			continue
		}
		if slices.Contains(f.imports, module+"/internal/testsvc") {
			t.Errorf("%s imports internal/testsvc, want that only in tests", f.path)
		}
	}
}

// testModules are modules of their own that hold nothing but tests: of what
// needs modules that ours does not require.
var testModules = []string{"sqlqueue/sqltest"}

// TestNothingRunsOnImport holds that importing a package has no effect, but for
// the database drivers that a module of tests imports.
func TestNothingRunsOnImport(t *testing.T) {
	for _, dir := range testModules {
		if _, err := os.Stat(path.Join(dir, "go.mod")); err != nil {
			t.Errorf("%s is no module of its own: %v", dir, err)
		}
	}
	for _, f := range parseModule(t) {
		if f.below("example", "bench") {
			continue
		}
		if f.inits {
			t.Errorf("%s has an init function, want none", f.path)
		}
		for _, blank := range f.blanks {
			if blank != "embed" && !f.below(testModules...) {
				t.Errorf("%s imports %s for its side effects, want none", f.path, blank)
			}
		}
	}
}

// file is what the tests above ask of a source file that is no test.
type file struct {
	path    string // from the root of the module, as dir
	dir     string
	imports []string
	blanks  []string // those of imports named _
	inits   bool     // it has an init function
}

func (f file) below(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return matches(d+"/...", f.dir) })
}

// parseModule reads all files of the repository but tests, whatever they are
// built for.
func parseModule(t *testing.T) []file {
	t.Helper()
	var files []file
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); base == "testdata" || base == "vendor" || len(base) > 1 && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parse(name)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(name string) (file, error) {
	source, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{path: name, dir: path.Dir(name)}
	for _, spec := range source.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports = append(f.imports, imported)
		if spec.Name != nil && spec.Name.Name == "_" {
			f.blanks = append(f.blanks, imported)
		}
	}
	for _, decl := range source.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			f.inits = true
		}
	}
	return f, nil
}

// standard reports whether an import path is one of the standard library: only
// those have no dot in their first element.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// matches reports whether name is pattern or, if that ends in /..., below it.
func matches(pattern, name string) bool {
	tree, isTree := strings.CutSuffix(pattern, "/...")
	return name == tree || isTree && strings.HasPrefix(name, tree+"/")
}
