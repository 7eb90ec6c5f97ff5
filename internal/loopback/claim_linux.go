package loopback

import (
	"net"
	"os/exec"
	"strconv"
	"syscall"
)

// claim takes a name that stands for the port in this network namespace. The kernel gives it back when the process ends.
func claim(port uint16) (release func(), ok bool) {
	l, err := net.Listen("unix", "@traverse-test-port-"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, false
	}
	return func() { _ = l.Close() }, true
}

// EndWithUs ends a program with a test that panics and cleans nothing up.
func EndWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
