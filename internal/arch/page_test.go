package arch

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the rows of the map in ARCHITECTURE.md")

const page = root + "/ARCHITECTURE.md"

// between returns the part of ARCHITECTURE.md between <!-- name --> and <!-- /name -->, and what stands around it.
func between(t *testing.T, name string) (before, part, after string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- "+name+" -->\n")
	part, after, closed := strings.Cut(rest, "<!-- /"+name+" -->\n")
	if !ok || !closed {
		t.Fatalf("ARCHITECTURE.md has no part between <!-- %s --> and <!-- /%s -->", name, name)
	}
	return before, part, after
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	comments := map[string]int{}
	for _, f := range files(t) {
		if f.test || f.syntax.Doc == nil {
			continue
		}
		comments[f.pkg]++
		switch path.Base(f.path) {
		case "doc.go", "main.go", path.Base(f.pkg) + ".go": // the last for a package of one file
		default:
			t.Errorf("%s has a package comment; it belongs in doc.go", f.path)
		}
	}
	for pkg := range packages(t) {
		if comments[pkg] != 1 {
			t.Errorf("%s: %d package comments, want one", pkg, comments[pkg])
		}
	}
}

func TestMapIsCurrent(t *testing.T) {
	synopsis := map[string]string{}
	for _, f := range files(t) {
		if f.test || f.syntax.Doc == nil {
			continue
		}
		text := new(doc.Package).Synopsis(f.syntax.Doc.Text())
		for _, opening := range []string{"Package " + f.syntax.Name.Name + " ", "Command " + path.Base(f.pkg) + " "} {
			if rest, ok := strings.CutPrefix(text, opening); ok && strings.HasSuffix(rest, ".") {
				synopsis[f.pkg] = strings.TrimSuffix(rest, ".")
			}
		}
		if synopsis[f.pkg] == "" {
			t.Errorf("%s: the package comment begins %q, want a sentence that begins \"Package %s\"", f.path, text, f.syntax.Name.Name)
		}
	}
	var want bytes.Buffer
	want.WriteString("| package | it | imports of ours |\n|---|---|---|\n")
	for _, row := range arrows {
		imports := strings.Join(row.allows, ", ")
		switch imports {
		case "":
			imports = "none"
		case anyAbove:
			imports = "any above"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", row.pkg, strings.ReplaceAll(synopsis[row.pkg], "|", "\\|"), imports)
	}
	before, got, after := between(t, "map")
	if got == want.String() {
		return
	}
	if !*update {
		t.Fatal("the map in ARCHITECTURE.md is not what the packages say; run go test ./internal/arch -update")
	}
	text := before + "<!-- map -->\n" + want.String() + "<!-- /map -->\n" + after
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The ledger has a row for every goroutine: package and name of the function that runs or that a literal only calls;
// for a literal that does more, the function around it. A row's first cell is written `core/mux` readLoop.
func TestLedgerHasEveryGoroutine(t *testing.T) {
	_, ledger, _ := between(t, "ledger")
	listed := map[string]bool{}
	for row := range strings.Lines(ledger) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
		cell := strings.TrimSpace(cells[0])
		if !strings.HasPrefix(cell, "`") {
			continue // head
		}
		if len(cells) != 4 || strings.TrimSpace(cells[3]) == "" {
			t.Errorf("ledger: %s: want four cells: goroutine, started by, ends when, waited for by", cell)
		}
		listed[strings.ReplaceAll(cell, "`", "")] = true
	}
	for _, name := range slices.Sorted(maps.Keys(started(t))) {
		if !listed[name] {
			t.Errorf("ledger: no row for %s", name)
		}
		delete(listed, name)
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		t.Errorf("ledger: %s is not started anywhere", name)
	}
}

// started returns "package function" of every goroutine that the code outside tests starts: by go, by a Go method (of
// a WaitGroup or an errgroup). Timers and context.AfterFunc are left out; their functions do not last.
func started(t *testing.T) map[string]bool {
	set, functions := map[string]bool{}, map[string]bool{}
	for _, f := range files(t) {
		for _, decl := range f.syntax.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil {
				functions[f.pkg+" "+d.Name.Name] = true
			}
		}
	}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		for _, decl := range f.syntax.Decls {
			around, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(around, func(n ast.Node) bool {
				var body ast.Expr
				switch n := n.(type) {
				case *ast.GoStmt:
					body = n.Call.Fun
				case *ast.CallExpr:
					if method, ok := n.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "Go" && len(n.Args) == 1 {
						body = n.Args[0]
					}
				}
				if body == nil {
					return true
				}
				name := nameOf(called(body))
				if id, ok := body.(*ast.Ident); ok && !functions[f.pkg+" "+id.Name] || name == "" {
					name = around.Name.Name // a body that was handed in, or that does more than call
				}
				set[f.pkg+" "+name] = true
				return true
			})
		}
	}
	return set
}

// called returns the function that body is or, for a literal that does nothing but call one, calls.
func called(body ast.Expr) ast.Expr {
	literal, ok := body.(*ast.FuncLit)
	if !ok {
		return body
	}
	if len(literal.Body.List) != 1 {
		return nil
	}
	var result ast.Expr
	switch s := literal.Body.List[0].(type) {
	case *ast.ExprStmt:
		result = s.X
	case *ast.SendStmt:
		result = s.Value
	case *ast.AssignStmt:
		result = s.Rhs[0]
	}
	if call, ok := result.(*ast.CallExpr); ok {
		return call.Fun
	}
	return nil
}

func nameOf(function ast.Expr) string {
	switch f := function.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
