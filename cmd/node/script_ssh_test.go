package main

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// sshd VAR: the port of a real sshd of this user's, on loopback, with the key in ./key; SSHUSER is whom to be there.
func cmdSSHD(ts *testscript.TestScript, _ bool, args []string) {
	me, err := user.Current()
	ts.Check(err)
	for _, name := range []string{"hostkey", "key"} {
		ts.Check(ts.Exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ts.MkAbs(name)))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	if os.Geteuid() == 0 {
		ts.Check(os.MkdirAll("/run/sshd", 0o755)) // where it separates its privileges
	}
	config := strings.Join([]string{
		"ListenAddress 127.0.0.1:" + port, "HostKey " + ts.MkAbs("hostkey"), "AuthorizedKeysFile " + ts.MkAbs("key.pub"), "StrictModes no",
		"UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "PidFile none",
	}, "\n")
	ts.Check(os.WriteFile(ts.MkAbs("sshd_config"), []byte(config), 0o600))
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", ts.MkAbs("sshd_config"))
	ts.Check(cmd.Start())
	ts.Defer(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	cmdWaitPort(ts, false, []string{"127.0.0.1:" + port})
	ts.Setenv(args[0], port)
	ts.Setenv("SSHUSER", me.Username)
}
