package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/core/ktls"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
)

const bundleHelp = `In it are: what this program was built from, the configuration with where each value comes from, and what doctor finds; of a node that runs the configuration in force, its status (with
contacts and transfers), netcheck, sessions and channels, why of each contact, the account's devices, exposed services and forwards, /metrics where it listens, the last 1024 events and the last
256 lines of its log. Passwords, tickets and keys are in none of these, and whatever looks like one is masked; no file's content is. Ids, names and addresses are in it: --without-ids replaces device and
account ids, and names of devices, contacts, relays' users, files, the host and the home, each by the same word everywhere. IP addresses and host names of relays stay.`

// maxBundled bounds a member of a bundle: the API's answers are below 8 MiB.
const maxBundled = 16 << 20

// Bundle is what `doctor --bundle` prints.
type Bundle struct {
	cli.Envelope
	File       string         `json:"file"`
	Bytes      int            `json:"bytes"`
	WithoutIDs bool           `json:"without_ids"`
	Members    []BundleMember `json:"members"`
	Missing    []BundleMember `json:"missing"`
}

// BundleMember is one file in a bundle, or one that could not be had.
type BundleMember struct {
	Name  string `json:"name"`
	What  string `json:"what"`
	Bytes int    `json:"bytes,omitempty"`
	Why   string `json:"why,omitempty"` // it is missing
}

// bundler collects the members.
type bundler struct {
	out Bundle
	red redactor
	raw []member
}

type member struct {
	BundleMember
	text []byte
}

// bundle writes everything into one file.
func (a *app) bundle(ctx context.Context, cmd *cobra.Command, h daemon.Home, conf config.Config, path string, withoutIDs bool) error {
	if !strings.HasSuffix(path, ".tar.gz") && !strings.HasSuffix(path, ".tgz") {
		return usage(cmd, fmt.Errorf("a bundle is a .tar.gz, not %q", filepath.Base(path)))
	}
	if _, err := os.Lstat(path); err == nil { // before a minute's work; writePrivate looks again
		return cli.Errorf("E_LOCAL_IO", "cannot write the bundle").Because(fmt.Errorf("%s exists", path)).Hint("name another file")
	}
	b := &bundler{out: Bundle{Envelope: daemon.Envelope("bundle"), File: path, WithoutIDs: withoutIDs, Members: []BundleMember{}, Missing: []BundleMember{}}}
	b.red.ids = map[string]string{}
	if withoutIDs {
		b.red.names = map[string]string{}
		b.hideHome(h)
	}
	b.object("version.json", "what this program was built from", cli.Version{Envelope: daemon.Envelope("version"), Build: cli.ThisBuild(cli.Features{"ktls": ktls.Built})}, nil)
	file, _ := a.configFile(h)
	b.object("config.json", "the configuration in force for commands, secrets hidden", configcmd.Shown{Envelope: daemon.Envelope("config"), File: file, Settings: conf.Settings("node")}, nil)
	b.object("doctor.json", "what doctor finds", daemon.Examine(ctx, h, conf), nil)
	b.running(ctx, daemon.NewClient(h.Socket))
	if ctx.Err() != nil {
		return cli.Errorf("E_TIMEOUT", "the bundle was not finished in time").Because(ctx.Err()).Hint("give it longer: --timeout 5m")
	}
	raw, err := b.pack(time.Now())
	if err == nil {
		err = writePrivate(path, raw)
	}
	if err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot write the bundle").Because(err).Hint("name another file")
	}
	b.out.Bytes = len(raw)
	return a.print(b.out, func(w io.Writer) { printBundle(w, b.out) })
}

// hideHome notes what the home and the machine are called.
func (b *bundler) hideHome(h daemon.Home) {
	b.red.hide("HOME", h.State)
	if dir, err := filepath.Abs(h.State); err == nil {
		b.red.hide("HOME", dir)
	}
	if dir, err := os.UserHomeDir(); err == nil && dir != "/" {
		b.red.hide("HOME", dir)
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		b.red.hide("HOST", name)
	}
	if id, err := daemon.Identity(h); err == nil {
		b.red.hide("DEVICE", id.Name)
	}
}

// running adds what a node that runs tells of itself.
func (b *bundler) running(ctx context.Context, c *daemon.Client) {
	status, err := c.Status(ctx)
	if err == nil && b.out.WithoutIDs {
		b.hideNames(ctx, c, status)
	}
	b.object("status.json", "one look at the node: contacts, transfers, relays", status, err)
	if err != nil {
		b.out.Missing[len(b.out.Missing)-1].What = "all that a running node tells: status, netcheck, sessions, why, metrics, events, log"
		return
	}
	netcheck, err := c.Netcheck(ctx)
	b.object("netcheck.json", "what this network does", netcheck, err)
	for _, r := range [][3]string{
		{"running.json", "the configuration that the node runs with, flags included", "/v1/config"},
		{"sessions.json", "sessions with peers", "/v1/sessions"},
		{"channels.json", "open channels", "/v1/channels"},
		{"devices.json", "the account's devices", "/v1/devices"},
		{"services.json", "what contacts may reach", "/v1/services"},
		{"forwards.json", "forwards", "/v1/forwards"},
	} {
		var text limited
		err := c.Raw(ctx, http.MethodGet, r[2], nil, &text)
		b.json(r[0], r[1], text.Bytes(), err)
	}
	b.why(ctx, c, status)
	if status.Metrics != "" {
		text, err := fetch(ctx, "http://"+status.Metrics+"/metrics")
		b.text("metrics.txt", "/metrics, once", text, err)
	}
	var events limited
	err = c.Raw(ctx, http.MethodGet, "/v1/events?since=0&follow=no", nil, &events)
	b.text("events.txt", "the last events", events.Bytes(), err)
	log, err := c.Log(ctx)
	b.text("log.txt", "the last lines of the log", []byte(strings.Join(append(log.Lines, ""), "\n")), err)
}

// why adds how the last attempts with each contact went.
func (b *bundler) why(ctx context.Context, c *daemon.Client, status daemon.Status) {
	all := []daemon.Why{}
	for _, p := range status.Peers {
		if w, err := c.Why(ctx, p.Device, 0); err == nil && (len(w.Attempts) > 0 || len(w.Story) > 0 || len(w.Calling) > 0) {
			all = append(all, w)
		}
	}
	b.object("why.json", "how the last attempts with each contact went", struct {
		cli.Envelope
		Why []daemon.Why `json:"why"`
	}{daemon.Envelope("whys"), all}, nil)
}

// hideNames notes what contacts, devices and files are called.
func (b *bundler) hideNames(ctx context.Context, c *daemon.Client, status daemon.Status) {
	b.red.hide("DEVICE", status.Device.Name)
	b.hideID(status.Device.Device)
	if list, err := c.Contacts(ctx); err == nil {
		for _, one := range list.Contacts {
			b.red.hide("CONTACT", one.Name)
			b.hideID(one.Device)
			b.hideID(one.Account)
			for _, d := range one.Devices {
				b.red.hide("DEVICE", d.Name)
				b.hideID(d.ID.String())
			}
		}
	}
	for _, p := range status.Peers {
		name, device, _ := strings.Cut(p.Name, ":")
		b.red.hide("CONTACT", name)
		b.red.hide("DEVICE", device)
		b.hideID(p.Device)
	}
	list, err := c.Transfers(ctx)
	if err != nil {
		list.Transfers = status.Transfers
	}
	for _, t := range list.Transfers {
		b.red.hide("FILE", t.File)
		b.red.hide("NOTE", t.Note)
		for _, name := range t.Names {
			b.red.hide("FILE", name)
		}
	}
}

// hideID notes an id before it is met: texts have its first group alone, too.
func (b *bundler) hideID(id string) {
	if id != "" {
		b.red.hideID(id)
	}
}

func (b *bundler) object(name, what string, object any, err error) {
	var raw []byte
	if err == nil {
		raw, err = json.Marshal(object)
	}
	b.json(name, what, raw, err)
}

func (b *bundler) json(name, what string, raw []byte, err error) {
	if err == nil {
		raw, err = b.red.object(raw)
	}
	b.add(name, what, raw, err)
}

func (b *bundler) text(name, what string, raw []byte, err error) {
	b.add(name, what, []byte(b.red.text(string(raw))), err)
}

func (b *bundler) add(name, what string, text []byte, err error) {
	if err != nil {
		b.out.Missing = append(b.out.Missing, BundleMember{Name: name, What: what, Why: b.red.text(cli.OneLine(err.Error()))})
		return
	}
	m := BundleMember{Name: name, What: what, Bytes: len(text)}
	b.out.Members = append(b.out.Members, m)
	b.raw = append(b.raw, member{m, text})
}

// pack is the bundle as a file. Its first member says what the others are.
func (b *bundler) pack(now time.Time) ([]byte, error) {
	var about bytes.Buffer
	printBundle(&about, Bundle{File: "this bundle", WithoutIDs: b.out.WithoutIDs, Members: b.out.Members, Missing: b.out.Missing})
	fmt.Fprintf(&about, "\nMade %s. %s\n", now.UTC().Format(time.RFC3339), bundleHelp)
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, m := range append([]member{{BundleMember{Name: "README.txt"}, about.Bytes()}}, b.raw...) {
		head := &tar.Header{Name: "bundle/" + m.Name, Mode: 0o600, Size: int64(len(m.text)), ModTime: now, Typeflag: tar.TypeReg}
		if err := w.WriteHeader(head); err != nil {
			return nil, err
		}
		if _, err := w.Write(m.text); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func printBundle(w io.Writer, b Bundle) {
	fmt.Fprintf(w, "%s has\n", b.File)
	for _, m := range b.Members {
		fmt.Fprintf(w, "  %-14s %9s  %s\n", m.Name, cli.Size(int64(m.Bytes)), m.What)
	}
	for _, m := range b.Missing {
		fmt.Fprintf(w, "  %-14s   missing  %s: %s\n", m.Name, m.What, m.Why)
	}
	if b.WithoutIDs {
		fmt.Fprintln(w, "without ids and names; addresses are in it")
	} else {
		fmt.Fprintln(w, "with ids, names and addresses; --without-ids leaves ids and names out")
	}
}

// limited is a buffer that holds no more than a member may.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxBundled {
		return 0, fmt.Errorf("longer than %d bytes", maxBundled)
	}
	return l.Buffer.Write(p)
}

// fetch reads a page of this machine.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", res.Status)
	}
	var text limited
	_, err = io.Copy(&text, res.Body)
	return text.Bytes(), err
}
