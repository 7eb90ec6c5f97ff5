package reason_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"traverse.internal/core/reason"
)

// TestExplainIsWhole: every constant of reason.go says what it means and what would change it.
func TestExplainIsWhole(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	ast.Inspect(file, func(n ast.Node) bool {
		c, ok := n.(*ast.ValueSpec)
		if !ok || len(c.Values) != 1 {
			return true
		}
		word, err := strconv.Unquote(c.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if a := reason.Explain(reason.Code(word)); a.Means == "" || a.Change == "" {
			t.Errorf("%s has no explanation", word)
		}
		return true
	})
	if seen == 0 {
		t.Error("no constants found")
	}
	if a := reason.Explain("NO_SUCH_WORD"); a != (reason.Advice{}) {
		t.Errorf("an unknown word is explained: %+v", a)
	}
}
