package interop

import (
	"os/exec"
	"syscall"
)

// endWithUs ends a program with the test that panics and cleans nothing up.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
