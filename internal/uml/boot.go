package uml

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Program is a static test program (CGO_ENABLED=0) to be run.
type Program struct {
	Name string // a word
	Path string
	Args []string // without spaces in them
}

// A Result is how a program ended.
type Result struct {
	Ran    bool // it ended; otherwise the kernel did before
	Passed bool
	Output string // standard output and error
}

// kernel is what Debian's user-mode-linux calls its kernel.
const kernel = "linux.uml"

// modules are what kernel TLS needs, as paths below the kernel's own modules.
var modules = []string{"net/tls/tls.ko", "crypto/gf128mul.ko", "crypto/ghash-generic.ko", "crypto/ctr.ko", "crypto/gcm.ko", "crypto/seqiv.ko"}

// memory of the machine: the file system is in it too.
const memory = "2048M"

// Missing says what is not here that Run needs, or "".
func Missing() string {
	if _, err := exec.LookPath(kernel); err != nil {
		return "linux.uml (package user-mode-linux)"
	}
	if _, err := findModules(); err != nil {
		return err.Error()
	}
	return ""
}

func findModules() ([]string, error) {
	var found []string
	for _, m := range modules {
		paths, err := filepath.Glob("/usr/lib/uml/modules/*/kernel/" + m)
		if err != nil || len(paths) == 0 {
			return nil, fmt.Errorf("module %s (package user-mode-linux)", m)
		}
		found = append(found, paths[len(paths)-1])
	}
	return found, nil
}

// ErrNotBooted is a kernel that did not come as far as init.
var ErrNotBooted = errors.New("uml: kernel did not boot")

// Run boots and runs the programs one after the other, until all have ended or ctx has. Init is the path of the program
// in internal/uml/init, static too. Dir is for files of its own, 100 MB and more. What the kernel says is in the error
// when it did not boot.
func Run(ctx context.Context, dir, init string, programs []Program) (map[string]*Result, error) {
	image := filepath.Join(dir, "initrd")
	if err := writeImage(image, init, programs); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, kernel, "mem="+memory, "initrd="+image, "con0=null,fd:1", "con=null", "ssl=null", "quiet", "panic=1",
		"uml_dir="+dir, "umid=machine")
	cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(dir))
	cmd.WaitDelay = waitDelay
	killTree(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	results := map[string]*Result{}
	said, booted := follow(out, results)
	err = cmd.Wait()
	if !booted {
		return nil, fmt.Errorf("%w (%v): %s", ErrNotBooted, err, said)
	}
	if ctx.Err() != nil {
		return results, fmt.Errorf("uml: %w", ctx.Err())
	}
	return results, nil
}

// memoryDir is where the kernel keeps its memory, a file: not on a disk.
func memoryDir(otherwise string) string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return otherwise
}

// follow sorts the output by program. Said is what belongs to none.
func follow(out io.Reader, results map[string]*Result) (said string, booted bool) {
	var outside strings.Builder
	var now *Result
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		words := strings.Fields(line)
		if len(words) >= 2 && words[0] == "uml-init:" {
			booted = true
			switch {
			case words[1] == "begin" && len(words) > 2:
				now = &Result{}
				results[words[2]] = now
				continue
			case now != nil && (words[1] == "pass" || words[1] == "fail"):
				now.Ran, now.Passed = true, words[1] == "pass"
				if !now.Passed {
					now.Output += line + "\n"
				}
				now = nil
				continue
			}
		}
		if now != nil {
			now.Output += line + "\n"
			continue
		}
		outside.WriteString(line + "\n")
	}
	return outside.String(), booted
}

func writeImage(to, init string, programs []Program) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	a := newArchive(out)
	a.device("dev/console", 5, 1)
	a.device("dev/null", 1, 3)
	a.device("dev/urandom", 1, 9)
	files := map[string]string{"init": init}
	found, err := findModules()
	if err != nil {
		return err
	}
	for _, m := range found {
		files["modules/"+filepath.Base(m)] = m
	}
	for _, p := range programs {
		dir := "tests/" + p.Name
		files[dir+"/test"] = p.Path
		a.file(dir+"/args", 0o644, []byte(strings.Join(p.Args, " ")))
	}
	for name, from := range files {
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		a.file(name, 0o755, content)
	}
	return errors.Join(a.close(), out.Close())
}
