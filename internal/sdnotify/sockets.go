package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxSockets that are taken from the service manager: FileDescriptorStoreMax is far below.
const maxSockets = 1024

// firstFD is SD_LISTEN_FDS_START.
const firstFD = 3

// Socket is one that the service manager hands to the program: of a .socket unit, or one that an earlier run of the program
// had stored.
type Socket struct {
	Name string // FileDescriptorName= of the unit, or what Store was told
	ID   string // of the socket, the same for every copy of its descriptor
	File *os.File
}

// Sockets takes the sockets of LISTEN_FDS: sd_listen_fds(3). Whoever calls it owns them, and calls it once. Programs that are
// started by this one do not get them.
func Sockets(getenv func(string) string) ([]Socket, error) {
	count := getenv("LISTEN_FDS")
	if pid := getenv("LISTEN_PID"); count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // they are another process's
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxSockets {
		return nil, fmt.Errorf("sdnotify: LISTEN_FDS=%q is not a number up to %d", count, maxSockets)
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	var out []Socket
	for i := range n {
		closeOnExec(firstFD + i)
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		out = append(out, Socket{name, inode(firstFD + i), os.NewFile(uintptr(firstFD+i), name)})
	}
	return out, nil
}

// ID tells sockets apart, copies of a descriptor not.
func ID(socket syscall.Conn) (id string, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return "", err
	}
	err = raw.Control(func(fd uintptr) { id = inode(int(fd)) })
	return id, err
}

// Store gives the service manager a copy of a socket, to be handed to the next run of the program: FDSTORE=1. It has
// effect where FileDescriptorStoreMax= allows it. A socket that is there already is not stored twice. It returns the
// socket's name, which begins with the prefix and stays the same as long as the socket lives.
func (n *Notifier) Store(prefix string, socket syscall.Conn) (name string, err error) {
	raw, err := socket.SyscallConn()
	if err != nil || n == nil {
		return prefix, err
	}
	if e := raw.Control(func(fd uintptr) {
		name = prefix + "-" + inode(int(fd))
		err = n.sendRaw("FDSTORE=1\nFDPOLL=0\nFDNAME="+name+"\n", rights(int(fd)))
	}); e != nil {
		return "", fmt.Errorf("sdnotify: %w", e)
	}
	return name, err
}

// Forget has the service manager close what it stored under the name.
func (n *Notifier) Forget(name string) error {
	if n == nil {
		return nil
	}
	return n.sendRaw("FDSTOREREMOVE=1\nFDNAME="+name+"\n", nil)
}

// Reloading says that the configuration is being read again; what it returns says that this is over: sd_notify(3).
func (n *Notifier) Reloading() (over func()) {
	if n == nil {
		return func() {}
	}
	_ = n.sendRaw(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\n", monotonic()), nil)
	return func() { _ = n.sendRaw("READY=1\n", nil) }
}

// sendRaw sends one datagram, with descriptors beside it. It dials each time: the manager may have been started anew, and its
// socket with it.
func (n *Notifier) sendRaw(text string, oob []byte) error {
	c, err := net.DialUnix("unixgram", nil, n.socket)
	if err != nil {
		return fmt.Errorf("sdnotify: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("sdnotify: %w", err)
	}
	if len(oob) > 0 {
		err = sendBeside(c, []byte(text), oob) // net.UnixConn does it only without a connection
	} else {
		_, err = c.Write([]byte(text))
	}
	if err != nil {
		return fmt.Errorf("sdnotify: %w", err)
	}
	return nil
}
