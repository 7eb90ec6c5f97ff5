package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"time"
)

// scp is OpenSSH's, with a server of its own on loopback: keys made for the run,
// public keys only, nothing of the machine's configuration read.
type scp struct {
	fileRun
	sshd string
}

// scpCipher is the fastest on machines with AES instructions.
const scpCipher = "aes128-gcm@openssh.com"

// newSCP makes keys and configuration, or says what is missing.
func newSCP(f fileRun) (s scp, missing string, err error) {
	const install = " is not installed (apt-get install openssh-client openssh-server)"
	for _, name := range []string{"scp", "ssh-keygen"} {
		if _, err := exec.LookPath(name); err != nil {
			return s, name + install, nil
		}
	}
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd" // which is not on a user's PATH
	}
	if _, err := os.Stat(sshd); err != nil {
		return s, "sshd" + install, nil
	}
	if os.Getuid() == 0 {
		// sshd as root wants its empty directory, which the service would have made.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return s, "", err
		}
	}
	s = scp{f, sshd}
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path(key)).CombinedOutput(); err != nil {
			return s, "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	return s, "", nil
}

func (s scp) path(name string) string { return filepath.Join(s.dir, name) }

// config is sshd's. StrictModes is off because the files are in a world-writable
// place's subdirectory.
func (s scp) config(addr netip.AddrPort) string {
	return fmt.Sprintf(`ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
Ciphers %s
`, addr, s.path("host"), s.path("user.pub"), scpCipher)
}

// run starts a server, copies, and stops the server: its time then includes that of
// the processes it made for the connection.
func (s scp) run(ctx context.Context) (sample, error) {
	out, _, err := s.copy(ctx)
	return out, err
}

// copy returns how long it took, too, from the client's start to its end.
func (s scp) copy(ctx context.Context) (sample, float64, error) {
	addr, err := freePort()
	if err != nil {
		return sample{}, 0, err
	}
	if err := os.WriteFile(s.path("sshd.conf"), []byte(s.config(addr)), 0o600); err != nil {
		return sample{}, 0, err
	}
	server := exec.Command(s.sshd, "-D", "-e", "-f", s.path("sshd.conf"))
	said := new(tail)
	server.Stderr = said
	if err := pinned(loadCPU, server.Start); err != nil {
		return sample{}, 0, err
	}
	p := &process{cmd: server, tail: said, ended: make(chan struct{})}
	go p.waitLoop()
	defer p.stop()
	if err := p.await(ctx, func() error { return dialable(addr) }); err != nil {
		return sample{}, 0, err
	}
	me, err := user.Current()
	if err != nil {
		return sample{}, 0, err
	}
	copied := s.path("copied")
	defer os.RemoveAll(copied)
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := exec.CommandContext(limited, "scp", "-q", "-r", "-F", "none", "-i", s.path("user"), "-P", fmt.Sprint(addr.Port()), "-c", scpCipher,
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
		s.source, me.Username+"@127.0.0.1:"+copied)
	talk := new(tail)
	client.Stderr = talk
	began := time.Now()
	if err := pinned(measuredCPU, client.Start); err != nil {
		return sample{}, 0, err
	}
	if err := client.Wait(); err != nil {
		return sample{}, 0, fmt.Errorf("scp: %w: %s\nsshd: %s", err, talk, said)
	}
	wall := time.Since(began).Seconds()
	p.childless(3 * time.Second)
	p.stop()
	cpu := usage(client.ProcessState) + usage(server.ProcessState)
	out, err := s.sample(copied, cpu, wall)
	return out, wall, err
}

// dialable connects and leaves: sshd logs it and goes on.
func dialable(addr netip.AddrPort) error {
	c, err := net.Dial("tcp4", addr.String())
	if err != nil {
		return err
	}
	return c.Close()
}
