package relayadmin

import "net"

// listenPrivately opens a socket. Who may open it follows from the folder: Windows has no mode.
func listenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }
