package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestReport(t *testing.T) {
	full := Errorf("E_NO_PATH", "cannot reach bob").Because(errors.New("relay answered 401")).Hint("check the relay password")
	for _, c := range []struct {
		name           string
		err            error
		json           bool
		exit           int
		stdout, stderr string
	}{
		{name: "success", exit: 0},
		{
			name: "three lines for people", err: full, exit: 9,
			stderr: "error: cannot reach bob\nwhy:   relay answered 401\ntry:   check the relay password\n",
		},
		{
			name: "one object for programs", err: fmt.Errorf("wrapped: %w", full), json: true, exit: 9,
			stdout: `{"error":{"code":"E_NO_PATH","exit":9,"message":"cannot reach bob","why":["relay answered 401"],"try":["check the relay password"],"docs":"node help E_NO_PATH"}}` + "\n",
		},
		{
			name: "a peer's words do nothing to the terminal", exit: 11,
			err:    Errorf("E_DECLINED", "bob declined").Because(errors.Join(errors.New("\x1b]0;owned\a\x1b[2J\rsaved"), errors.New("gpj.\u202eexe ü"))),
			stderr: "error: bob declined\nwhy:   ?]0;owned??[2J?saved; gpj.?exe ü\n",
		},
		{name: "told already", err: &Error{Exit: 18}, json: true, exit: 18},
		{name: "any other error", err: errors.New("boom"), exit: 1, stderr: "error: boom\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if exit := Report(&out, &errOut, c.err, c.json); exit != c.exit {
				t.Errorf("exit = %d, want %d", exit, c.exit)
			}
			if out.String() != c.stdout || errOut.String() != c.stderr {
				t.Errorf("stdout %q stderr %q,\nwant   %q        %q", out.String(), errOut.String(), c.stdout, c.stderr)
			}
		})
	}
}

func TestCodesAreOrderedAndUnique(t *testing.T) {
	seen := map[string]bool{}
	last := 0
	for _, c := range Codes {
		if seen[c.Name] || c.Exit < last || c.Meaning == "" {
			t.Errorf("%s: duplicate, out of order, or without a meaning", c.Name)
		}
		seen[c.Name], last = true, c.Exit
	}
	if ExitOf("E_NOT_A_CODE") != ExitUnexpected {
		t.Error("an unknown name must mean an unexpected error")
	}
}
