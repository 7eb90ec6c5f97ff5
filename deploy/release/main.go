// Command release leaves everything a release has in dist/: static programs in archives, .deb and .rpm packages, an OCI
// image, a bill of materials, and checksums, signed where there is a key. `make release` runs it.
//
// The same commit gives the same bytes, wherever and whenever it is built: programs are built with -trimpath and without
// cgo, every time in an archive is the commit's, every owner is root, and every list is sorted.
//
// It is a module of its own: what makes packages weighs a hundred modules that the product does not need (docs/adr/0050).
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// A release is one run.
type release struct {
	source, dist string
	version      string    // of packages, as 0.1.0 or 0~20060102.abcdef0 without a tag
	revision     string    // full commit
	when         time.Time // of the commit
	targets      []target
	formats      []string
	work         string            // where programs are built
	own          map[string]string // programs of this machine's kind, by installed name, once somebody has asked for them
	key          string            // file of an SSH key that signs; "": nobody does
	out          io.Writer
}

// A target is a system and a machine that programs are built for.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

// What each target is released as.
var allFormats = []string{"archive", "deb", "rpm", "image"}

// What is released. turnd's fast paths are Linux'; the other systems get the node, which is what people have there.
var allTargets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"},
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	source := flags.String("source", "../..", "the repository")
	dist := flags.String("dist", "", "where results go; default: dist in the repository")
	version := flags.String("version", "", "version of the packages; default: from git")
	only := flags.String("targets", "", "comma-separated os/arch; default: all")
	formats := flags.String("formats", strings.Join(allFormats, ","), "comma-separated, of these")
	work := flags.String("programs", "", "where programs are built, and taken from if they are there already and of this very commit; default: a folder for the time")
	key := flags.String("key", os.Getenv("TRAVERSE_RELEASE_KEY"), "file of the SSH key (Ed25519) that signs the checksums, or its public half where an agent has it; default: TRAVERSE_RELEASE_KEY")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag; see -h", flags.Arg(0))
	}
	r := &release{source: *source, dist: *dist, version: *version, formats: strings.Split(*formats, ","), work: *work, own: make(map[string]string), key: *key, out: out}
	for _, f := range r.formats {
		if !slices.Contains(allFormats, f) {
			return fmt.Errorf("-formats %s: known are %v", f, allFormats)
		}
	}
	if err := r.prepare(ctx, *only); err != nil {
		return err
	}
	return r.make(ctx)
}

// prepare finds out what is built, and empties dist.
func (r *release) prepare(ctx context.Context, only string) error {
	for _, t := range allTargets {
		if only == "" || slices.Contains(strings.Split(only, ","), t.String()) {
			r.targets = append(r.targets, t)
		}
	}
	if n := len(strings.Split(only, ",")); only != "" && n != len(r.targets) {
		return fmt.Errorf("-targets %s: known are %v", only, allTargets)
	}
	if r.key != "" { // before anything is built
		if _, err := os.Stat(r.key); err != nil {
			return fmt.Errorf("the key that signs: %w", err)
		}
	}
	var err error
	if r.source, err = filepath.Abs(r.source); err != nil {
		return err
	}
	if r.dist == "" {
		r.dist = filepath.Join(r.source, "dist")
	}
	if r.dist, err = filepath.Abs(r.dist); err != nil {
		return err
	}
	if r.work != "" {
		if r.work, err = filepath.Abs(r.work); err != nil {
			return err
		}
	}
	if r.revision, err = r.git(ctx, "rev-parse", "HEAD"); err != nil {
		return err
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		if epoch, err = r.git(ctx, "log", "-1", "--format=%ct"); err != nil {
			return err
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.when = time.Unix(seconds, 0).UTC()
	if r.version == "" {
		r.version = r.describe(ctx)
	}
	if changed, err := r.git(ctx, "status", "--porcelain", "--untracked-files=no"); err != nil {
		return err
	} else if changed != "" {
		fmt.Fprintln(r.out, "release: files differ from the commit; this is no release that anybody can repeat")
		r.version += "+dirty"
	}
	// Never remove what is not ours: dist is made anew only if it is empty or has our checksums.
	if entries, err := os.ReadDir(r.dist); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(r.dist, sumsFile)); err != nil {
			return fmt.Errorf("%s has files that are no earlier release; choose another -dist", r.dist)
		}
		if err := os.RemoveAll(r.dist); err != nil {
			return err
		}
	}
	return os.MkdirAll(r.dist, 0o755)
}

// describe is the tag, or what sorts before every tag.
func (r *release) describe(ctx context.Context) string {
	if tag, err := r.git(ctx, "describe", "--tags", "--exact-match", "--match", "v*"); err == nil {
		return strings.TrimPrefix(tag, "v")
	}
	return fmt.Sprintf("0~%s.%s", r.when.Format("20060102150405"), r.revision[:10])
}

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", r.source, "-c", "safe.directory=*"}, args...)...)
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// make builds everything, and says what there is.
func (r *release) make(ctx context.Context) error {
	if r.work == "" {
		work, err := os.MkdirTemp("", "release")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		r.work = work
	}
	var images []imagePart
	for _, t := range r.targets {
		b, err := r.build(ctx, t, filepath.Join(r.work, t.os+"-"+t.arch))
		if err != nil {
			return err
		}
		if slices.Contains(r.formats, "archive") {
			if err := r.archive(b); err != nil {
				return fmt.Errorf("archive for %s: %w", t, err)
			}
		}
		if t.os != "linux" {
			continue
		}
		if err := r.packages(ctx, b); err != nil {
			return fmt.Errorf("packages for %s: %w", t, err)
		}
		images = append(images, imagePart{t.arch, b})
	}
	if len(images) > 0 && slices.Contains(r.formats, "image") {
		if err := r.image(images); err != nil {
			return fmt.Errorf("image: %w", err)
		}
	}
	if err := r.sums(); err != nil {
		return err
	}
	return r.sign(ctx)
}

const sumsFile = "SHA256SUMS"

// sums writes the checksums of all that is in dist, in the form of sha256sum.
func (r *release) sums() error {
	entries, err := os.ReadDir(r.dist) // sorted
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, e := range entries {
		f, err := os.Open(filepath.Join(r.dist, e.Name()))
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(h, f)
		f.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", h.Sum(nil), e.Name())
		fmt.Fprintf(r.out, "%10.1f MiB  %s\n", float64(n)/(1<<20), e.Name())
	}
	return os.WriteFile(filepath.Join(r.dist, sumsFile), []byte(text.String()), 0o644)
}
