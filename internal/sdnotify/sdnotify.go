package sdnotify

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// refresh is how often the status is told where there is no watchdog: for people who look.
	refresh = 30 * time.Second
	// maxStatus bytes keep a datagram far below what a socket takes, whatever the status says.
	maxStatus = 1 << 10
)

// Notifier talks to a service manager. A nil one says nothing.
type Notifier struct {
	socket   *net.UnixAddr
	interval time.Duration // of the watchdog; 0 means none
}

// Open reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Without a socket it returns nil.
func Open(getenv func(string) string) (*Notifier, error) {
	name := getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil, nil
	}
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") || len(name) < 2 {
		return nil, fmt.Errorf("sdnotify: NOTIFY_SOCKET=%q is neither a path nor @ and a name", name)
	}
	n := &Notifier{socket: &net.UnixAddr{Net: "unixgram", Name: name}} // package net understands the @
	usec := getenv("WATCHDOG_USEC")
	if pid := getenv("WATCHDOG_PID"); usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil // another process is watched: sd_watchdog_enabled(3)
	}
	v, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || v <= 0 || v > int64(24*time.Hour/time.Microsecond) {
		return nil, fmt.Errorf("sdnotify: WATCHDOG_USEC=%q is not a time of at most a day", usec)
	}
	n.interval = time.Duration(v) * time.Microsecond
	return n, nil
}

// Serve says READY=1 at once, so it is called when everything listens. Until ctx ends it asks for the status at half the
// watchdog's interval and passes it on: a status that does not return is what the watchdog is for. Then it says STOPPING=1.
// What cannot be sent is not tried again: a manager that does not listen draws its own conclusions.
func (n *Notifier) Serve(ctx context.Context, status func() string) {
	if n == nil {
		<-ctx.Done()
		return
	}
	every := refresh
	if n.interval > 0 {
		every = n.interval / 2
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	_ = n.send("READY=1", status())
	for {
		select {
		case <-tick.C:
			_ = n.send("WATCHDOG=1", status())
		case <-ctx.Done():
			_ = n.send("STOPPING=1", "stopping")
			return
		}
	}
}

// send tells a state and the status.
func (n *Notifier) send(state, status string) error {
	status = strings.ReplaceAll(status[:min(len(status), maxStatus)], "\n", " ")
	return n.sendRaw(state+"\nSTATUS="+status+"\n", nil)
}
