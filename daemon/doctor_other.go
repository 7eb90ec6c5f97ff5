//go:build !linux

package daemon

// readMachine knows nothing of other systems: what stays zero is not judged.
func readMachine(string) machine { return machine{} }
