package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// boot makes the machine usable, tests and switches off.
func boot() {
	if err := prepare(); err != nil {
		fmt.Println("uml-init:", err)
	} else {
		test()
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func prepare() error {
	for _, m := range []struct{ at, kind string }{{"/proc", "proc"}, {"/sys", "sysfs"}, {"/tmp", "tmpfs"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	return loadModules()
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request)
}

// loadModules tries all until no more can be loaded: so they come in the order in which they need each other.
func loadModules() error {
	waiting, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for {
		var still []string
		for _, path := range waiting {
			if err := loadModule(path); err != nil && err != unix.EEXIST {
				still = append(still, path)
			}
		}
		if len(still) == 0 {
			return nil
		}
		if len(still) == len(waiting) {
			return fmt.Errorf("modules that cannot be loaded: %s", strings.Join(still, " "))
		}
		waiting = still
	}
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// test runs the programs. The lines that begin with uml-init are for who booted us.
func test() {
	programs, err := filepath.Glob("/tests/*/test")
	if err != nil {
		fmt.Println("uml-init:", err)
		return
	}
	for _, path := range programs {
		name := filepath.Base(filepath.Dir(path))
		args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "args"))
		if err != nil {
			fmt.Println("uml-init:", err)
			continue
		}
		fmt.Println("uml-init: begin", name)
		cmd := exec.Command(path, strings.Fields(string(args))...)
		cmd.Dir = filepath.Dir(path)
		cmd.Env = []string{"TRAVERSE_UML=1", "PATH=/", "HOME=/tmp", "TMPDIR=/tmp"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		if err := cmd.Run(); err != nil {
			fmt.Println("uml-init: fail", name, err)
			continue
		}
		fmt.Println("uml-init: pass", name)
	}
	fmt.Println("uml-init: done")
}
