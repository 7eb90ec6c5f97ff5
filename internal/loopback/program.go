package loopback

import (
	"bytes"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Need skips, and says what was not tested, where a program is missing.
func Need(t testing.TB, pkg string, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed (Debian's package %s): what needs it was NOT tested", p, pkg)
		}
	}
}

// Program is one that runs until its test ends.
type Program struct {
	Exited chan struct{} // closed when it has

	mu  sync.Mutex // guards the field below
	out bytes.Buffer
}

// Start runs a program until the test ends. What it says is logged when the test has failed by then.
func Start(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	p := &Program{Exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	cmd.WaitDelay = time.Second
	EndWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.wait(cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.Exited
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, p.Output())
		}
	})
	return p
}

func (p *Program) wait(cmd *exec.Cmd) {
	defer close(p.Exited)
	_ = cmd.Wait()
}

// Write takes what the program says.
func (p *Program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// Output is what the program has said.
func (p *Program) Output() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.out.Bytes())
}
