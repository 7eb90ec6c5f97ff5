package transfer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("ü", 200)
	for in, want := range map[string]string{
		"holiday film.mkv": "holiday film.mkv",
		"größe.txt":        "größe.txt",
		"日本語.txt":          "日本語.txt",
		"":                 "file",
		".":                "file",
		"..":               "file",
		"...":              "file",
		"   ":              "file",
		"/etc/passwd":      "_etc_passwd",
		"../../x":          "_._.._x",
		`..\..\x`:          `_._.._x`,
		`C:\boot.ini`:      "C__boot.ini",
		".bashrc":          "_bashrc",
		"-rf":              "_rf",
		"a\x00b\nc\x1b[m":  "a_b_c_[m",
		"a\xffb":           "a_b",
		"trailing. . ":     "trailing",
		"con":              "_con",
		"Nul.txt":          "_Nul.txt",
		"COM1.tar.gz":      "_COM1.tar.gz",
		"LPT9":             "_LPT9",
		"lpt¹":             "_lpt¹",
		"aux .c":           "_aux .c",
		"console.log":      "console.log",
		"com10":            "com10",
		`a<b>c:d"e|f?g*h`:  "a_b_c_d_e_f_g_h",
		"gpj.\u202eexe":    "gpj._exe",
		"a\u00a0b":         "a_b",
		long + ".mkv":      strings.Repeat("ü", 125) + ".mkv",
		long:               strings.Repeat("ü", 127),
	} {
		if got := SafeName(in); got != want {
			t.Errorf("SafeName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNumberedName(t *testing.T) {
	for _, test := range []struct {
		name string
		n    int
		want string
	}{
		{"a.txt", 0, "a.txt"},
		{"a.txt", 1, "a (1).txt"},
		{"a", 2, "a (2)"},
		{"a (1).txt", 1, "a (1) (1).txt"},
		{"v1.2 final version of it", 1, "v1.2 final version of it (1)"},
		{strings.Repeat("x", 251) + ".txt", 999, strings.Repeat("x", 245) + " (999).txt"},
	} {
		got := numberedName(test.name, test.n)
		if got != test.want || len(got) > MaxName {
			t.Errorf("numberedName(%q, %d) = %q, want %q", test.name, test.n, got, test.want)
		}
	}
}

// FuzzSafeName: whatever a peer says, the name can be created, stays in the
// directory, and is safe as it is.
func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"", "a.txt", "../x", "con.txt", strings.Repeat("ü.", 300), "a\x00\u202e", ".traverse-x.part"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name := SafeName(in)
		switch {
		case checkName(name) != nil:
			t.Errorf("SafeName(%q) = %q: %v", in, name, checkName(name))
		case filepath.Base(name) != name || !filepath.IsLocal(name):
			t.Errorf("SafeName(%q) = %q leads elsewhere", in, name)
		case name[0] == '.' || !utf8.ValidString(name):
			t.Errorf("SafeName(%q) = %q", in, name)
		case SafeName(name) != name:
			t.Errorf("SafeName(%q) = %q, and of that %q", in, name, SafeName(name))
		}
		for _, n := range []int{1, maxTwins} {
			if twin := numberedName(name, n); checkName(twin) != nil || SafeName(twin) != twin {
				t.Errorf("numberedName(%q, %d) = %q", name, n, twin)
			}
		}
	})
}

// TestOddSourceNames: a sender's file may be called anything its disk allows; it
// is offered under a name that a receiver can take.
func TestOddSourceNames(t *testing.T) {
	for _, name := range []string{
		"new\nline", "esc\x1b[31m", "\xff\xfe", strings.Repeat("x", 255), "..hidden", " ",
		"caf\xe9.txt", "\x93\xfa\x96{.txt", "\xce\xc4\xbc\xfe.txt", "\xc0\xafetc", "\xed\xa0\x80.txt", // Latin-1, Shift-JIS, GB 18030; no UTF-8: overlong, surrogate
		"cafe\u0301.txt", "caf\u00e9.txt", "\ufeffbom.txt", "עברית.txt", "👩‍👩‍👧.txt",
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
			t.Skipf("this file system has no %q: %v", name, err)
		}
		a, b := memPipe("")
		dir := openDir(t)
		sent := send(t.Context(), a, sourceOf(t, path), SendOptions{})
		if _, err := receive(t.Context(), b, dir, AcceptOptions{}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if out := <-sent; out.err != nil {
			t.Errorf("%q: %v", name, out.err)
		}
	}
}

// TestOwnBadName: a name the user chose is refused before anything is sent.
func TestOwnBadName(t *testing.T) {
	for _, name := range []string{"../x", "a/b", "..", "a\nb", strings.Repeat("x", 256)} {
		a, b := memPipe("")
		_, err := Send(t.Context(), a, sourceOf(t, writeFile(t, "f", nil)), SendOptions{Name: name})
		wantKind(t, "sender", err, ErrName, Local)
		if got := (rawPeer{t, b}).readAll(); got != "" {
			t.Errorf("sent %q", got)
		}
	}
}

// TestNormalForms: one name in two normal forms of Unicode is two files, as it is on the sender's disk; neither is renamed to the other.
func TestNormalForms(t *testing.T) {
	from, dir := t.TempDir(), openDir(t)
	forms := map[string]string{"caf\u00e9": "NFC", "cafe\u0301": "NFD"}
	for name, form := range forms {
		path := filepath.Join(from, name)
		if err := os.WriteFile(path, []byte(form), 0o600); err != nil {
			t.Fatal(err)
		}
		a, b := memPipe("")
		sent := send(t.Context(), a, sourceOf(t, path), SendOptions{})
		if _, err := receive(t.Context(), b, dir, AcceptOptions{}); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if out := <-sent; out.err != nil {
			t.Fatalf("%s: %v", form, out.err)
		}
	}
	if got, err := os.ReadDir(dir.Path()); err != nil || len(got) != len(mustReadDir(t, from)) {
		t.Errorf("%d files, as many as here: %d; %v", len(got), len(forms), err)
	}
	for _, f := range mustReadDir(t, from) {
		want, _ := os.ReadFile(filepath.Join(from, f.Name()))
		if got, err := os.ReadFile(filepath.Join(dir.Path(), f.Name())); err != nil || string(got) != string(want) {
			t.Errorf("%+q holds %q, want %q; %v", f.Name(), got, want, err)
		}
	}
}

func mustReadDir(t *testing.T, path string) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSameNameAtOnce: two files of one name whose bytes come at the same time are both kept, each whole.
func TestSameNameAtOnce(t *testing.T) {
	dir := openDir(t)
	contents := [][]byte{bytes.Repeat([]byte("a"), 3*blockSize), bytes.Repeat([]byte("b"), 3*blockSize)}
	var gates []*gatedStream
	var accepted []<-chan error
	var sent []<-chan outcome
	for _, content := range contents {
		a, b := memPipe("")
		sent = append(sent, send(t.Context(), a, sourceOf(t, writeFile(t, "same.bin", content)), SendOptions{}))
		g := gated(b, blockSize)
		in, err := ReadOffer(t.Context(), g, ReceiveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		gates, accepted = append(gates, g), append(accepted, accept(t, in, dir))
	}
	for _, g := range gates {
		<-g.reached // both are in the middle
	}
	for i, g := range gates {
		close(g.open)
		if err := <-accepted[i]; err != nil {
			t.Error(err)
		}
		if out := <-sent[i]; out.err != nil {
			t.Error(out.err)
		}
	}
	for i, name := range []string{"same.bin", "same (1).bin"} {
		if got, err := os.ReadFile(filepath.Join(dir.Path(), name)); err != nil || !bytes.Equal(got, contents[i]) {
			t.Errorf("%s is not what was sent: %d bytes, %v", name, len(got), err)
		}
	}
}
