// Command init is process 1 of the kernel that internal/uml boots: it loads the modules beside it, runs every test
// program in /tests, and switches off.
package main

import "os"

func main() {
	if os.Getpid() != 1 {
		os.Stderr.WriteString("init: only as process 1 of a kernel of its own\n")
		os.Exit(1)
	}
	boot()
}
