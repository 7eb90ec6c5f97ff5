package arch

import (
	"go/ast"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasARow(t *testing.T) {
	have := packages(t)
	for _, row := range arrows {
		if !have[row.pkg] {
			t.Errorf("%s: has a row in tables_test.go and does not exist", row.pkg)
		}
		delete(have, row.pkg)
	}
	for pkg := range have {
		t.Errorf("%s: has no row in tables_test.go", pkg)
	}
}

func TestArrowsGoOneWay(t *testing.T) {
	allowed := map[string][]string{}
	var above []string
	for _, row := range arrows {
		allowed[row.pkg] = row.allows
		if slices.Contains(row.allows, anyAbove) {
			allowed[row.pkg] = slices.Clone(above)
		}
		for _, target := range allowed[row.pkg] {
			if !slices.Contains(above, target) {
				t.Errorf("tables_test.go: %s may import %s, which is not above it", row.pkg, target)
			}
		}
		above = append(above, row.pkg)
	}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		for _, imported := range f.imports {
			if target, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(allowed[f.pkg], target) {
				t.Errorf("%s imports %s; %s may import %v", f.path, target, f.pkg, allowed[f.pkg])
			}
		}
	}
}

func TestForeignPackagesHaveOneImporter(t *testing.T) {
	for _, f := range files(t) {
		for _, imported := range f.imports {
			rule := -1 // the most specific: log/slog has one of its own beside log
			for i, s := range sole {
				if below(imported, s.foreign) && (rule < 0 || len(s.foreign) > len(sole[rule].foreign)) {
					rule = i
				}
			}
			if rule < 0 || f.test && imported == "crypto/tls" {
				continue // a test may well be the foreign peer
			}
			s := sole[rule]
			if !slices.Contains(s.by, f.pkg) && !(f.test && slices.Contains(s.tests, f.pkg)) {
				t.Errorf("%s imports %s, which belongs to %v (and tests of %v)", f.path, imported, s.by, s.tests)
			}
		}
	}
}

func TestShadowedNamesCannotBeMistaken(t *testing.T) {
	for _, s := range shadowed {
		for _, f := range files(t) {
			if slices.Contains(f.imports, module+s.ours) && slices.Contains(f.imports, s.foreign) {
				t.Errorf("%s imports both %s and %s", f.path, s.ours, s.foreign)
			}
		}
		theirs := exportedBy(t, s.foreign)
		for _, f := range files(t) {
			if f.pkg != s.ours || f.test {
				continue
			}
			for _, name := range exported(f.syntax) {
				if theirs[name] && !slices.Contains(s.exempt, name) {
					t.Errorf("%s exports %s, as %s does: code with the wrong import could compile", f.path, name, s.foreign)
				}
			}
		}
	}
}

// exportedBy returns the top-level names of a foreign package.
func exportedBy(t *testing.T, imported string) map[string]bool {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", imported).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", imported, err)
	}
	sources, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources of %s: %v", imported, err)
	}
	names := map[string]bool{}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		f, err := parse(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range exported(f.syntax) {
			names[name] = true
		}
	}
	return names
}

// exported returns the exported top-level names of a file.
func exported(f *ast.File) (names []string) {
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				add(d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					add(s.Name)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						add(id)
					}
				}
			}
		}
	}
	return names
}

func TestFilesAreShort(t *testing.T) {
	for _, f := range files(t) {
		if f.lines > maxLines && !ast.IsGenerated(f.syntax) {
			t.Errorf("%s has %d lines, want at most %d", f.path, f.lines, maxLines)
		}
	}
}
