package uml

import (
	"os/exec"
	"syscall"
	"time"
)

// waitDelay is how long the output may stay open behind a kernel that was killed.
const waitDelay = 5 * time.Second

// killTree makes the end of cmd's context end its children too: user-mode-linux runs each program of its own as one.
func killTree(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
