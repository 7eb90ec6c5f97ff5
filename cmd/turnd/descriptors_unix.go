//go:build unix

package main

import "syscall"

// descriptors is how many the system allows; 0: it does not say. Go raises the soft limit to the hard one.
func descriptors() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Max) // int64 on FreeBSD
}
