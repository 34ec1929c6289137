package fanfare_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tests of this file read the sources, for what must not stand there.

// eachSource calls f with every source file of the repository that is no test.
func eachSource(t *testing.T, f func(f file, source *ast.File)) {
	t.Helper()
	for _, file := range parseModule(t) {
		source, err := parser.ParseFile(token.NewFileSet(), file.path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		f(file, source)
	}
}

// TestScriptsAreConstants holds that the source of a script is made of embedded
// files alone.
func TestScriptsAreConstants(t *testing.T) {
	found, embedded := 0, regexp.MustCompile(`^\w+Lua( \+ \w+Lua)*$`)
	eachSource(t, func(f file, source *ast.File) {
		ast.Inspect(source, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := types.ExprString(call.Fun)
			if name != "newRedisScript" && name != "harmlessRedisScript" {
				return true
			}
			found++
			if arg := types.ExprString(call.Args[0]); !embedded.MatchString(arg) && arg != "source" {
				t.Errorf("%s: %s(%s), want embedded files", f.path, name, arg)
			}
			return true
		})
		for _, decl := range source.Decls {
			checkEmbedded(t, f.path, decl)
		}
	})
	if found < 15 {
		t.Errorf("%d scripts found: have they another name now?", found)
	}
}

// checkEmbedded requires that variables named like a script are embedded.
func checkEmbedded(t *testing.T, path string, decl ast.Decl) {
	t.Helper()
	vars, ok := decl.(*ast.GenDecl)
	if !ok || vars.Tok != token.VAR {
		return
	}
	for _, spec := range vars.Specs {
		v := spec.(*ast.ValueSpec)
		if strings.HasSuffix(v.Names[0].Name, "Lua") && len(v.Values) > 0 {
			t.Errorf("%s: %s has a value, want it embedded", path, v.Names[0].Name)
		}
	}
}

// sqlParts are what statements are put together from, beside literals: parts of
// the grammar of a dialect, names of columns and tables of ours, numbers, and
// lists of placeholders. Whatever a user or an event says is a parameter.
var sqlParts = []string{
	// of the grammar
	"s.now", "b.now", "s.insert", "s.ignore", "s.lock", "s.skip", "s.current", "lock",
	// names and conditions of this package
	"table", "column", "key", "first", "l.table", "l.where", "st.table", "st.where", "order", "columns", "condition", "what", "changes",
	// and of packed rows
	"source", "array", `strings.Repeat(", " + array, len(names) - 1)`, `strings.Join(names, ", ")`,
	`unpack("at", "id", "token")`, `unpack("at", "id", "body", "delay", "due", "priority")`,
	`strings.Repeat(" AND (SELECT at FROM {events} WHERE line = ? AND at <= (SELECT now FROM c) ORDER BY at LIMIT 1) IS NULL", len(others))`,
	// placeholders
	"list", "idList", "queueList", "values", `strings.Repeat(", " + values, rows - 1)`,
	// numbers
	"lookNow", "lookQueue", "lookPaused", "lookVersion", "laneEnded", "batch", "lane", "n", "smallBody", "limit",
}

// TestStatementsAreConstants holds that no statement of SQL is built from
// anything but sqlParts.
func TestStatementsAreConstants(t *testing.T) {
	sql := regexp.MustCompile(`\b(SELECT|INSERT|UPDATE|DELETE|WHERE|VALUES|FROM)\b`)
	found := 0
	eachSource(t, func(f file, source *ast.File) {
		if !f.below("sqlqueue") || f.below("sqlqueue/sqltest") {
			return
		}
		ast.Inspect(source, func(n ast.Node) bool {
			leaves, literal := statement(n)
			if literal == "" || !sql.MatchString(literal) {
				return true
			}
			found++
			for _, leaf := range leaves {
				if !slices.Contains(sqlParts, leaf) {
					t.Errorf("%s: %.60q has %s in it, want only literals and sqlParts", f.path, literal, leaf)
				}
			}
			return false
		})
	})
	if found < 20 {
		t.Errorf("%d statements with parts found: are they put together otherwise now?", found)
	}
}

// statement returns the text of the literals in a concatenation or a call of
// fmt.Sprintf, and all else that goes into it.
func statement(n ast.Node) (parts []string, literal string) {
	switch n := n.(type) {
	case *ast.BasicLit:
		if n.Kind == token.STRING {
			text, _ := strconv.Unquote(n.Value)
			return nil, text
		}
	case *ast.ParenExpr:
		return statement(n.X)
	case *ast.BinaryExpr:
		if n.Op != token.ADD {
			return nil, ""
		}
		left, l := statementOf(n.X)
		right, r := statementOf(n.Y)
		return append(left, right...), l + r
	case *ast.CallExpr:
		if types.ExprString(n.Fun) != "fmt.Sprintf" {
			return nil, ""
		}
		for _, arg := range n.Args {
			p, l := statementOf(arg)
			parts, literal = append(parts, p...), literal+l
		}
		return parts, literal
	}
	return nil, ""
}

// statementOf is statement of a part, which is a part itself if it has none.
func statementOf(e ast.Expr) (parts []string, literal string) {
	parts, literal = statement(e)
	if literal == "" && parts == nil {
		if _, ok := e.(*ast.BasicLit); !ok {
			return []string{types.ExprString(e)}, ""
		}
	}
	return parts, literal
}

// TestRandomnessIsUnpredictable holds that ids, tokens and nonces come from
// crypto/rand: math/rand is for what may be guessed.
func TestRandomnessIsUnpredictable(t *testing.T) {
	may := map[string]string{
		"backoff.go":           "jitter",
		"consumer.go":          "jitter",
		"lockerredis.go":       "jitter",
		"legacy/legacy.go":     "spreads schedules",
		"sqlqueue/transact.go": "jitter",
	}
	for _, f := range parseModule(t) {
		for _, imported := range f.imports {
			if strings.HasPrefix(imported, "math/rand") && may[f.path] == "" && !f.below("example", "bench", "cmd", "internal", "drivertest", "sqlqueue/sqltest") {
				t.Errorf("%s imports %s, want crypto/rand, or a reason in this test", f.path, imported)
			}
		}
	}
}

// TestNothingIsExposed holds that the package decodes no type that data names,
// listens nowhere, registers no handler of HTTP, and skips no verification.
func TestNothingIsExposed(t *testing.T) {
	banned := []string{"encoding/gob", "net/http/pprof", "expvar", "unsafe", "plugin", "text/template", "os/exec"}
	words := regexp.MustCompile(`^(http\.(Handle|HandleFunc|DefaultServeMux|ListenAndServe|ListenAndServeTLS)|net\.Listen|.*InsecureSkipVerify|.*DialTLSSkipVerify)$`)
	eachSource(t, func(f file, source *ast.File) {
		if f.below("example", "bench", "cmd", "internal") {
			return
		}
		for _, imported := range f.imports {
			if slices.Contains(banned, imported) {
				t.Errorf("%s imports %s", f.path, imported)
			}
		}
		ast.Inspect(source, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if words.MatchString(types.ExprString(n)) {
					t.Errorf("%s: %s", f.path, types.ExprString(n))
				}
			case *ast.KeyValueExpr:
				if words.MatchString(types.ExprString(n.Key)) {
					t.Errorf("%s: %s", f.path, types.ExprString(n.Key))
				}
			}
			return true
		})
	})
}
