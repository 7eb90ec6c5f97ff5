package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "traverse.internal/"
)

// A file is one parsed Go file of the module.
type file struct {
	path    string // from the root, with slashes
	pkg     string // folder
	test    bool
	lines   int
	imports []string
	syntax  *ast.File
}

// tree is every Go file of the module, parsed once for all tests.
var tree = sync.OnceValues(func() ([]*file, error) {
	var files []*file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			if name != root && (base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && name != root {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parse(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		parsed.path = filepath.ToSlash(rel)
		parsed.pkg = path.Dir(parsed.path)
		if parsed.pkg != "." { // a file in the root belongs to no package: it keeps requirements in go.mod
			files = append(files, parsed)
		}
		return nil
	})
	return files, err
})

// parse reads one file; where it belongs is for the caller to say.
func parse(name string) (*file, error) {
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{test: strings.HasSuffix(name, "_test.go"), syntax: syntax}
	f.lines = set.File(syntax.FileStart).LineCount() - 1 // the last line is the empty one behind the last newline
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		f.imports = append(f.imports, imported)
	}
	return f, nil
}

func files(t *testing.T) []*file {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files: the walk is broken", len(all))
	}
	return all
}

// packages returns the folders that hold Go files other than tests.
func packages(t *testing.T) map[string]bool {
	set := map[string]bool{}
	for _, f := range files(t) {
		if !f.test {
			set[f.pkg] = true
		}
	}
	return set
}

// below reports whether an import path is prefix or a package below it.
func below(imported, prefix string) bool {
	return imported == prefix || strings.HasPrefix(imported, prefix+"/")
}
