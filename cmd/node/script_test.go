package main

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptsAtOnce is how many run at a time where -parallel does not say so; they wait for half of their time, with two processors.
const scriptsAtOnce = "4"

// TestMain makes the program itself a command of the scripts, so that each `exec node` is a process of its own.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", scriptsAtOnce); err != nil { // before the command line is read, which is stronger
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"node": func() {
			ctx, stop := untilSignal(context.Background())
			code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		},
	})
}

// The scripts are the commands as a user types them; they double as documentation.
func TestScripts(t *testing.T) {
	t.Parallel() // peers.txtar mostly waits
	size := showBytes(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every command takes a second more
			env.Setenv("SHOW_BYTES", size)
			env.Setenv("LONG", strings.Repeat("long/", 20))
			return nil
		},
		Condition: scriptCondition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// programs
			"turnd":     buildTurnd(t),
			"exit":      cmdExit,
			"down":      cmdDown,
			"terminate": cmdTerminate,
			// waiting
			"waitup":        cmdWaitUp,
			"waitsocket":    cmdWaitSocket,
			"waitport":      cmdWaitPort,
			"await":         cmdAwait,
			"awaitdraining": cmdAwaitDraining,
			"awaitverified": cmdAwaitVerified,
			"offerid":       cmdOfferID,
			// looking
			"field":    cmdField,
			"deviceid": cmdDeviceID,
			"httpget":  cmdHTTPGet,
			// making things, and trouble
			"freeport": cmdFreePort,
			"holdport": cmdHoldPort,
			"randfile": cmdRandFile,
			"sparse":   cmdSparse,
			"tinydisk": cmdTinyDisk,
			"mistype":  cmdMistype,
			"garbage":  cmdGarbage,
			// kill -9
			"killat": cmdKillAt,
			"atpart": cmdAtPart,
			"resent": cmdResent,
			// accounts
			"sees":     cmdSees,
			"setfield": cmdSetField,
			// services
			"echoserver":   cmdEchoServer,
			"udpecho":      cmdUDPEcho,
			"lost":         cmdLost,
			"awaitforward": cmdAwaitForward,
			"roundtrip":    cmdRoundTrip,
			"interrupt":    cmdInterrupt,
			"sshd":         cmdSSHD,
		},
	})
}

// turnd: sets TURND to the other program, built once, for the scripts that want it.
func buildTurnd(t *testing.T) func(*testscript.TestScript, bool, []string) {
	bin := filepath.Join(t.TempDir(), "turnd")
	build := sync.OnceValues(func() ([]byte, error) {
		return exec.Command("go", "build", "-o", bin, "traverse.internal/cmd/turnd").CombinedOutput()
	})
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		if out, err := build(); err != nil {
			ts.Fatalf("build turnd: %v\n%s", err, out)
		}
		ts.Setenv("TURND", bin)
	}
}
