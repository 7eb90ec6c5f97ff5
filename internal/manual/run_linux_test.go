package manual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"traverse.internal/internal/netlab"
)

// A block is some commands of a page.
type block struct {
	page    string
	line    int
	machine string            // empty: not run
	words   map[string]string // ready, in, out, take
	script  string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

var fence = regexp.MustCompile("(?ms)(^<!-- (run|not run:) ([^\n]*) -->\n)?^```sh\n(.*?)^```$")

func blocks(t *testing.T, page string) (found []block) {
	t.Helper()
	text := read(t, root+"/"+page)
	for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
		b := block{page: page, line: 1 + strings.Count(text[:m[0]], "\n"), script: text[m[8]:m[9]], words: map[string]string{}}
		switch {
		case m[2] < 0:
			t.Errorf("%v: the commands do not say where they are run", b)
		case text[m[4]:m[5]] == "run":
			words := strings.Fields(text[m[6]:m[7]])
			b.machine = words[0]
			for _, word := range words[1:] {
				key, value, _ := strings.Cut(word, "=")
				b.words[key] = value
			}
		}
		found = append(found, b)
	}
	return found
}

// A machine is a folder with a HOME, and where its programs run.
type machine struct {
	dir  string
	env  []string
	in   func(func()) // runs a function in its network
	node int          // process group of the node that runs there
}

// The commands of the pages, as they are written.
func TestCommandsRun(t *testing.T) {
	for _, program := range []string{"bash", "git", "ssh", "ssh-keygen", "/usr/sbin/sshd", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("MISSING: " + program)
		}
	}
	if !netlab.Alone(t) {
		return
	}
	// Who is orphaned comes to us, so that end can wait for it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"README.md", "docs/operations.md"} {
		run := 0
		world := newWorld(t, page)
		for _, b := range blocks(t, page) {
			if b.machine == "" {
				continue
			}
			run++
			t.Logf("%v on %s", b, b.machine)
			world.run(t, b)
			if t.Failed() {
				world.end(t)
				return
			}
		}
		if run == 0 {
			t.Errorf("%s: no command was run, which cannot be", page)
		}
		world.end(t)
	}
}

type world struct {
	machines map[string]*machine
	groups   []int
}

var addresses = map[string]string{"relay": "192.0.2.1", "laptop": "192.0.2.7", "phone": "192.0.2.8"}

func newWorld(t *testing.T, page string) *world {
	t.Helper()
	dir := t.TempDir()
	netlab.Run(t, "go", "build", "-o", dir+"/bin/", "traverse.internal/cmd/node", "traverse.internal/cmd/turnd")
	// Everything is at one switch. The network is the process's own, so its names are free: one switch for each page.
	must(t, os.Symlink("node", dir+"/bin/traverse")) // as packages install it
	sw := "switch" + page[:1]
	netlab.Run(t, "ip", "link", "add", sw, "type", "bridge")
	netlab.Run(t, "ip", "link", "set", sw, "up")
	w := &world{machines: map[string]*machine{}}
	for name, more := range map[string][]string{
		"laptop": {"TRAVERSE_DHT_LISTEN=192.0.2.7:17001"},
		"phone":  {"TRAVERSE_DHT_LISTEN=192.0.2.8:17001", "TRAVERSE_DHT_BOOTSTRAP=192.0.2.7:17001"},
		// The network of all examples is among those that are never relayed to.
		"relay": {"TRAVERSE_TURND_ALLOW_PEER=192.0.2.0/24"},
	} {
		host := netlab.NewHost(t)
		host.Cable(t, name+page[:1], nil, []string{addresses[name] + "/24"})
		netlab.Run(t, "ip", "link", "set", name+page[:1], "master", sw)
		m := &machine{dir: filepath.Join(dir, name), in: func(f func()) { host.Do(t, f) }}
		must(t, os.MkdirAll(m.dir+"/run", 0o700))
		m.env = append([]string{
			"HOME=" + m.dir, "XDG_RUNTIME_DIR=" + m.dir + "/run", "PATH=" + dir + "/bin:" + dir + ":" + os.Getenv("PATH"),
			"TRAVERSE_DHT_MODE=private", "TRAVERSE_TRANSFER_MIN_FREE=1MiB", "LANG=C", "GORACE=atexit_sleep_ms=0",
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		}, more...)
		w.machines[name] = m
	}
	w.suppose(t, dir)
	return w
}

// suppose makes what the pages take for granted: files to send, a web server, an SSH server with a repository.
func (w *world) suppose(t *testing.T, dir string) {
	t.Helper()
	laptop, phone := w.machines["laptop"], w.machines["phone"]
	must(t, os.WriteFile(laptop.dir+"/report.pdf", bytes.Repeat([]byte("report\n"), 1<<16), 0o600))
	must(t, os.Mkdir(laptop.dir+"/photos", 0o700))
	must(t, os.WriteFile(laptop.dir+"/photos/1.jpg", []byte("a photo"), 0o600))
	netlab.Run(t, "git", "init", "-q", "--bare", phone.dir+"/notes.git")

	var l net.Listener
	var err error
	phone.in(func() { l, err = net.Listen("tcp", "127.0.0.1:8080") })
	must(t, err)
	web := &http.Server{Handler: http.FileServer(http.Dir(phone.dir)), ReadHeaderTimeout: time.Minute}
	go web.Serve(l) //nolint:errcheck // ends by Close
	t.Cleanup(func() { web.Close() })

	for _, name := range []string{"hostkey", "key"} {
		netlab.Run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir+"/"+name)
	}
	must(t, os.MkdirAll("/run/sshd", 0o755)) // where it separates its privileges
	must(t, os.WriteFile(dir+"/sshd_config", []byte(strings.Join([]string{
		"ListenAddress 127.0.0.1:22", "HostKey " + dir + "/hostkey", "AuthorizedKeysFile " + dir + "/key.pub", "StrictModes no",
		"UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "PidFile none",
		`ForceCommand cd ` + phone.dir + ` && sh -c "$SSH_ORIGINAL_COMMAND"`,
	}, "\n")), 0o600))
	// ssh takes its own folder from the list of users, not from HOME.
	must(t, os.WriteFile(dir+"/ssh_config", []byte("StrictHostKeyChecking accept-new\nUserKnownHostsFile "+dir+"/known_hosts\nUser root\nIdentityFile "+dir+"/key\nBatchMode yes\nLogLevel ERROR\n"), 0o600))
	real, err := exec.LookPath("ssh")
	must(t, err)
	must(t, os.WriteFile(dir+"/ssh", []byte("#!/bin/sh\nexec "+real+" -F "+dir+"/ssh_config \"$@\"\n"), 0o700))
	w.run(t, block{page: "sshd", machine: "phone", script: "exec /usr/sbin/sshd -D -e -f " + dir + "/sshd_config", words: map[string]string{"ready": "127.0.0.1:22"}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) run(t *testing.T, b block) {
	t.Helper()
	if err := w.start(t, b); err != nil {
		t.Error(err)
	}
}

func (w *world) start(t *testing.T, b block) error {
	t.Helper()
	m := w.machines[b.machine]
	if m == nil {
		t.Fatalf("%v: there is no machine %q", b, b.machine)
	}
	if take := b.words["take"]; take != "" {
		from, name, _ := strings.Cut(take, "/")
		content, err := os.ReadFile(filepath.Join(w.machines[from].dir, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(m.dir, filepath.Base(name)), content, 0o600))
	}
	ready := b.words["ready"]
	if ready == "node" && m.node != 0 {
		stop(m.node)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	owner := ctx
	if ready != "" {
		owner = context.Background() // end ends it
	}
	cmd := exec.CommandContext(owner, "bash", "-euo", "pipefail", "-c", b.script)
	cmd.Dir, cmd.Env = m.dir, m.env
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	must(t, err)
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	dir := filepath.Dir(m.dir) // in and out are how one machine tells the other
	if name := b.words["in"]; name != "" {
		in, err := os.Open(filepath.Join(dir, name))
		must(t, err)
		defer in.Close()
		cmd.Stdin = in
	}
	if name := b.words["out"]; name != "" {
		out, err := os.Create(filepath.Join(dir, name))
		must(t, err)
		defer out.Close()
		cmd.Stdout = out
	}
	m.in(func() { err = cmd.Start() })
	must(t, err)
	w.groups = append(w.groups, cmd.Process.Pid)
	if ready == "" {
		err = cmd.Wait()
	} else {
		if ready == "node" {
			m.node = cmd.Process.Pid
		}
		err = w.await(ctx, m, ready, said.Name())
	}
	if err != nil {
		return fmt.Errorf("%v on %s: %w\n%s%s", b, b.machine, err, b.script, read(t, said.Name()))
	}
	return nil
}

// await returns once what was started answers.
func (w *world) await(ctx context.Context, m *machine, ready, said string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var err error
		m.in(func() {
			if ready == "listening" { // as it says then
				if b, _ := os.ReadFile(said); !bytes.Contains(b, []byte("listening as ")) {
					err = errors.New("it does not listen")
				}
				return
			}
			if ready != "node" {
				var conn net.Conn
				if conn, err = net.Dial("tcp", ready); err == nil {
					conn.Close()
				}
				return
			}
			status := exec.CommandContext(ctx, "bash", "-c", "node status")
			status.Dir, status.Env = m.dir, m.env
			err = status.Run()
		})
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s never was ready: %w", ready, err)
		}
	}
}

// stop ends a group of processes and waits for all of it.
func stop(group int) {
	_ = unix.Kill(-group, unix.SIGTERM)
	patience := time.AfterFunc(5*time.Second, func() { _ = unix.Kill(-group, unix.SIGKILL) })
	defer patience.Stop()
	for {
		if _, err := unix.Wait4(-group, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (w *world) end(t *testing.T) {
	t.Helper()
	for _, group := range w.groups {
		stop(group)
	}
}
