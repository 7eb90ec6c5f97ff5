package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// sees REGEXP ARGS...: node with these arguments, again and again, until its stdout matches.
func cmdSees(ts *testscript.TestScript, neg bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for {
		_ = ts.Exec("node", args[1:]...) // one that follows something ends by its --timeout
		if want.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("node %v: no %q (negated: %v) after %v:\n%s%s", args[1:], args[0], neg, patience, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
		<-time.After(50 * time.Millisecond)
	}
}

// setfield VAR PATH: a field of the last stdout, as `field` finds it.
func cmdSetField(ts *testscript.TestScript, _ bool, args []string) {
	var object any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
	ts.Setenv(args[0], fmt.Sprint(lookup(object, args[1])))
}
