package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"time"
)

// A built target.
type built struct {
	target
	programs map[string]string // installed name to file
	files    []file            // what goes with them, sorted by name
}

// A file of an archive or package.
type file struct {
	name string // as it is installed, without the leading slash
	mode os.FileMode
	data []byte
}

// Programs by installed name; windows has .exe behind it.
var programs = map[string]string{"traverse": "./cmd/node", "turnd": "./cmd/turnd"}

// released are the programs of a target, in order.
func (t target) released() []string {
	if t.os == "linux" {
		return []string{"traverse", "turnd"}
	}
	return []string{"traverse"}
}

// build makes a target's programs in dir, and what goes with them.
func (r *release) build(ctx context.Context, t target, dir string) (*built, error) {
	b := &built{target: t, programs: make(map[string]string)}
	for _, name := range t.released() {
		out := filepath.Join(dir, name)
		if t.os == "windows" {
			out += ".exe"
		}
		if err := r.link(ctx, t, name, out); err != nil {
			return nil, err
		}
		b.programs[name] = out
		if t.os == runtime.GOOS && t.arch == runtime.GOARCH {
			r.own[name] = out
		}
		if err := r.bill(t, name, out); err != nil {
			return nil, fmt.Errorf("bill of materials of %s: %w", name, err)
		}
	}
	for _, doc := range []string{"README.md", "CHANGELOG.md", "LICENSE"} {
		data, err := os.ReadFile(filepath.Join(r.source, doc))
		if err != nil {
			return nil, err
		}
		b.files = append(b.files, file{doc, 0o644, data})
	}
	return b, nil
}

// link makes a program, unless it is there.
func (r *release) link(ctx context.Context, t target, name, out string) error {
	if r.isOfCommit(out) {
		fmt.Fprintf(r.out, "%s for %s is built already\n", name, t)
		return nil
	}
	fmt.Fprintf(r.out, "building %s for %s\n", name, t)
	// -buildid= : the linker's id depends on where the compiler was; -s -w: no symbols, stacks still have names.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w -buildid=", "-o", out, programs[name])
	cmd.Dir = r.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOFLAGS=", "GOWORK=off", "GOAMD64=v1")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s for %s: %w\n%s", programs[name], t, err, output)
	}
	return nil
}

// isOfCommit is whether a file is a program of the very commit that is released, built from a tree without changes.
func (r *release) isOfCommit(file string) bool {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return false
	}
	said := make(map[string]string)
	for _, s := range info.Settings {
		said[s.Key] = s.Value
	}
	return said["vcs.revision"] == r.revision && said["vcs.modified"] == "false"
}

// archive writes a target's programs and documents into one .tar.gz, or .zip where that is the custom.
func (r *release) archive(b *built) error {
	base := fmt.Sprintf("traverse_%s_%s_%s", r.version, b.os, b.arch)
	files := append([]file{}, b.files...)
	for _, name := range b.released() {
		data, err := os.ReadFile(b.programs[name])
		if err != nil {
			return err
		}
		files = append(files, file{filepath.Base(b.programs[name]), 0o755, data})
	}
	var buf bytes.Buffer
	ending, write := ".tar.gz", writeTarGz
	if b.os == "windows" {
		ending, write = ".zip", writeZip
	}
	if err := write(&buf, base, files, r.when); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dist, base+ending), buf.Bytes(), 0o644)
}

func writeTarGz(w io.Writer, folder string, files []file, when time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	z.ModTime = when
	if err := writeTar(z, folder, files, when); err != nil {
		return err
	}
	return z.Close()
}

func writeTar(w io.Writer, folder string, files []file, when time.Time) error {
	tw := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Name: path.Join(folder, f.name), Mode: int64(f.mode.Perm()), Size: int64(len(f.data)), ModTime: when, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if f.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := tw.Write(f.data); err != nil {
			return err
		}
	}
	return tw.Close()
}

func writeZip(w io.Writer, folder string, files []file, when time.Time) error {
	zw := zip.NewWriter(w)
	for _, f := range files {
		h := &zip.FileHeader{Name: path.Join(folder, f.name), Method: zip.Deflate, Modified: when}
		h.SetMode(f.mode)
		out, err := zw.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := out.Write(f.data); err != nil {
			return err
		}
	}
	return zw.Close()
}
