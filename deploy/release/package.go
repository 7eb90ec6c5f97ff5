package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// packages writes a target's .deb and .rpm.
func (r *release) packages(ctx context.Context, b *built) error {
	work, err := os.MkdirTemp("", "package")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	contents, err := r.contents(ctx, b, work)
	if err != nil {
		return err
	}
	contents = append(contents, r.folders(contents)...)
	for _, format := range []string{"deb", "rpm"} {
		if !slices.Contains(r.formats, format) {
			continue
		}
		if err := r.packageAs(format, b, contents); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

func (r *release) packageAs(format string, b *built, contents files.Contents) error {
	script := func(name string) string {
		return filepath.Join(r.source, "deploy", "release", "scripts", format+"-"+name)
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "traverse", Arch: b.arch, Platform: "linux", Version: r.version, VersionSchema: "none",
		Section: "net", Priority: "optional", License: "Apache-2.0",
		Maintainer: "Traverse <root@localhost>",
		Description: "TURN server and peer-to-peer node\n" +
			"turnd relays for clients that cannot be reached: RFC 8656 over UDP and RFC 6062 over TCP.\n" +
			"traverse reaches other devices by their id and sends them files.\n" +
			"Neither is started by the installation: systemctl enable --now turnd",
		MTime: r.when,
		Overridables: nfpm.Overridables{
			Contents: contents,
			Suggests: []string{"systemd"},
			Scripts: nfpm.Scripts{
				PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm"),
			},
			RPM: nfpm.RPM{Group: "System Environment/Daemons", Summary: "TURN server and peer-to-peer node", BuildHost: "localhost", Compression: "gzip:9"},
			Deb: nfpm.Deb{Compression: "gzip"},
		},
	})
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := packager.Package(info, &buf); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dist, packager.ConventionalFileName(info)), buf.Bytes(), 0o644)
}

// contents are what both formats install. Files that are made are put into work first.
func (r *release) contents(ctx context.Context, b *built, work string) (files.Contents, error) {
	var all files.Contents
	put := func(source, destination string, mode os.FileMode, kind string) {
		all = append(all, &files.Content{
			Source: source, Destination: destination, Type: kind,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.when},
		})
	}
	made := func(destination string, mode os.FileMode, kind string, data []byte) error {
		path := filepath.Join(work, strings.ReplaceAll(destination, "/", "_"))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		put(path, destination, mode, kind)
		return nil
	}
	for _, name := range b.released() {
		put(b.programs[name], "/usr/bin/"+name, 0o755, files.TypeFile)
	}
	units, err := filepath.Glob(filepath.Join(r.source, "deploy", "systemd", "*"))
	if err != nil {
		return nil, err
	}
	for _, unit := range units {
		switch filepath.Ext(unit) {
		case ".service", ".socket":
			put(unit, "/usr/lib/systemd/system/"+filepath.Base(unit), 0o644, files.TypeFile)
		case ".conf":
			put(unit, "/usr/share/doc/traverse/examples/"+filepath.Base(unit), 0o644, files.TypeFile)
		}
	}
	for _, folder := range []string{"prometheus", "grafana"} {
		found, err := filepath.Glob(filepath.Join(r.source, "deploy", folder, "*.*"))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if strings.HasSuffix(f, ".rules.yml") || strings.HasSuffix(f, ".json") {
				put(f, "/usr/share/doc/traverse/examples/"+folder+"/"+filepath.Base(f), 0o644, files.TypeFile)
			}
		}
	}
	docs, err := filepath.Glob(filepath.Join(r.source, "docs", "*.md"))
	if err != nil {
		return nil, err
	}
	for _, doc := range docs {
		put(doc, "/usr/share/doc/traverse/docs/"+filepath.Base(doc), 0o644, files.TypeFile) // as README links to them
	}
	for _, f := range b.files {
		if err := made("/usr/share/doc/traverse/"+f.name, f.mode, files.TypeFile, f.data); err != nil {
			return nil, err
		}
	}
	if err := made("/usr/share/doc/traverse/copyright", 0o644, files.TypeFile, b.files[slices.IndexFunc(b.files, func(f file) bool { return f.name == "LICENSE" })].data); err != nil {
		return nil, err
	}
	all = append(all, &files.Content{
		Destination: "/etc/traverse", Type: files.TypeDir,
		FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o755, MTime: r.when},
	})
	return all, r.generated(ctx, made)
}

// shared are folders that other packages have things in, too; what is below the last part of one is ours alone.
var shared = []string{
	"/usr/bin", "/usr/lib/systemd/system", "/usr/share/doc", "/usr/share/man/man1", "/usr/share/bash-completion/completions",
	"/usr/share", "/etc",
}

// folders are those that the .rpm has to name for itself, or they stay behind, empty, when it is removed. A .deb takes them along.
func (r *release) folders(contents files.Contents) (out files.Contents) {
	var named []string
	for _, c := range contents {
		for dir := filepath.Dir(c.Destination); !slices.Contains(shared, dir) && !slices.Contains(named, dir) && dir != "/etc/traverse"; dir = filepath.Dir(dir) {
			named = append(named, dir)
			out = append(out, &files.Content{
				Destination: dir, Type: files.TypeDir, Packager: "rpm",
				FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o755, MTime: r.when},
			})
		}
	}
	return out
}

// generated are the manual pages, the completions and the configuration with every key as a comment, made by the
// programs themselves, of this machine's kind.
func (r *release) generated(ctx context.Context, made func(string, os.FileMode, string, []byte) error) error {
	ask := func(program string, args ...string) ([]byte, error) {
		path := r.own[program]
		if path == "" { // this machine's kind is not released, or not yet
			path = filepath.Join(r.work, "own", program)
			if err := r.link(ctx, target{runtime.GOOS, runtime.GOARCH}, program, path); err != nil {
				return nil, err
			}
			r.own[program] = path
		}
		out, err := exec.CommandContext(ctx, path, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
		}
		return out, nil
	}
	for _, program := range []string{"traverse", "turnd"} {
		page, err := os.ReadFile(filepath.Join(r.source, "docs", "man", program+".1"))
		if err != nil {
			return err
		}
		var z bytes.Buffer
		w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := w.Write(page); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		if err := made("/usr/share/man/man1/"+program+".1.gz", 0o644, "", z.Bytes()); err != nil {
			return err
		}
		for shell, path := range map[string]string{
			"bash": "/usr/share/bash-completion/completions/" + program,
			"fish": "/usr/share/fish/vendor_completions.d/" + program + ".fish",
			"zsh":  "/usr/share/zsh/vendor-completions/_" + program,
		} {
			text, err := ask(program, "completion", shell)
			if err != nil {
				return err
			}
			if err := made(path, 0o644, "", text); err != nil {
				return err
			}
		}
	}
	text, err := ask("traverse", "config", "init", "--stdout")
	if err != nil {
		return err
	}
	return made("/etc/traverse/traverse.toml", 0o644, files.TypeConfigNoReplace, text)
}
