// Package uml boots a kernel that has what this machine's may not, kernel TLS above all, and runs test programs in it.
//
// The kernel is Debian's user-mode-linux: an ordinary process, no virtualisation and no privileges, up in two seconds,
// with programs at native speed and modules for TLS. [Run] makes an initial file system of a small init (the package in
// init/), the modules and static test programs, boots it, and says how each of them ended. It has one processor and no
// network but loopback.
package uml
