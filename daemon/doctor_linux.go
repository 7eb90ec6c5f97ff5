package daemon

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readMachine asks the kernel. What it does not tell stays zero, and is not judged.
func readMachine(downloads string) machine {
	var m machine
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		m.files = files.Max // the program raises its soft limit to this one
	}
	var clock unix.Timex
	if state, err := unix.Adjtimex(&clock); err == nil {
		m.clockKnown, m.clockSynced = true, state != unix.TIME_ERROR && clock.Status&unix.STA_UNSYNC == 0
	}
	m.conntrack = number("/proc/sys/net/netfilter/nf_conntrack_count")
	m.conntrackMax = number("/proc/sys/net/netfilter/nf_conntrack_max")
	m.rmemMax = number("/proc/sys/net/core/rmem_max")
	for dir := downloads; ; dir = filepath.Dir(dir) { // the folder may not be there yet
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err == nil && s.Blocks > 0 && s.Bsize > 0 {
			m.diskKnown, m.diskFree = true, s.Bavail*uint64(s.Bsize)
			return m
		}
		if dir == filepath.Dir(dir) {
			return m
		}
	}
}

// number reads a file that has one; 0 where there is none.
func number(path string) uint64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	return n
}
