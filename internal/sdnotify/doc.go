// Package sdnotify tells the service manager how the program is: ready, still healthy, stopping.
//
// The protocol is sd_notify(3): one datagram of NAME=VALUE lines to the unix socket that $NOTIFY_SOCKET names, a path or,
// with an @ in front, an abstract address. A manager that set $WATCHDOG_USEC kills a program it has not heard of for that
// long.
//
//	n, err := sdnotify.Open(os.Getenv)      // nil where nobody listens, and nil is fine
//	go n.Serve(ctx, status)                 // READY=1, then WATCHDOG=1 at half the interval, at the end STOPPING=1
//
// Healthy means that the status function returns. It should take the locks that the program's work takes, and nothing
// else: a look through the network could be made to fail by whoever floods the port, and the manager would then end the
// sessions of everybody. There is no state, and nothing to close.
package sdnotify
