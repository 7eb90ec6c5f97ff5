package ktls

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Built says that there is code for this system's kernel; Available, that the kernel is such.
const Built = true

// From linux/tls.h; the fields of the socket option are in host order but for the sequence number.
const (
	solTLS        = 282
	optTX         = 1
	optRX         = 2
	optExpectNPad = 4 // TLS_RX_EXPECT_NO_PAD
	version13     = 0x0304
	cipherGCM128  = 51
)

// cryptoInfo is struct tls12_crypto_info_aes_gcm_128, which serves TLS 1.3 too.
type cryptoInfo struct {
	version, cipher uint16
	iv              [8]byte
	key             [16]byte
	salt            [4]byte
	sequence        [8]byte
}

// Attach gives the kernel the keys of the TLS 1.3 connection with AES-128-GCM on tcp, whose handshake is over. txRecords
// and rxRecords are how many records have gone in each direction since.
//
// With ErrUnavailable the connection stays as it was. After any other error it cannot be used and the caller closes it.
func Attach(tcp *net.TCPConn, secrets *Secrets, server bool, txRecords, rxRecords uint64) (*Conn, error) {
	if !Available() {
		Stay(NoKernel)
		return nil, ErrUnavailable
	}
	out, in := secrets.take(server)
	if out == nil || in == nil {
		Stay(OtherSuite)
		return nil, ErrUnavailable
	}
	outKeys, err := keysOf(out)
	if err != nil {
		return nil, fmt.Errorf("ktls: attach: %w", err)
	}
	inKeys, err := keysOf(in)
	if err != nil {
		return nil, fmt.Errorf("ktls: attach: %w", err)
	}
	clear(out)
	clear(in)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("ktls: attach: %w", err)
	}
	var untouched bool
	var refused error
	err = raw.Control(func(fd uintptr) { untouched, refused = setKeys(int(fd), outKeys, inKeys, txRecords, rxRecords) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("ktls: attach: %w", err)
	case refused != nil && untouched:
		Stay(Refused)
		return nil, ErrUnavailable
	case refused != nil:
		return nil, fmt.Errorf("ktls: attach: %w", refused)
	}
	totals.kernel.Add(1)
	return newConn(tcp, raw), nil
}

// setKeys hands both directions over. Untouched is whether an error left the socket a plain TCP socket.
func setKeys(fd int, out, in trafficKeys, tx, rx uint64) (untouched bool, err error) {
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "tls"); err != nil {
		return true, os.NewSyscallError("setsockopt TCP_ULP", err)
	}
	// Until a direction has keys the socket is a plain one in it.
	if err := setKey(fd, optRX, in, rx); err != nil {
		return true, os.NewSyscallError("setsockopt TLS_RX", err)
	}
	if err := setKey(fd, optTX, out, tx); err != nil {
		return false, os.NewSyscallError("setsockopt TLS_TX", err)
	}
	// We do not pad, so records can be opened in the reader's memory; one that is padded costs a second pass. Linux 6.0.
	_ = unix.SetsockoptInt(fd, solTLS, optExpectNPad, 1)
	return false, nil
}

func setKey(fd, direction int, k trafficKeys, sequence uint64) error {
	info := cryptoInfo{version: version13, cipher: cipherGCM128, key: k.key}
	copy(info.salt[:], k.iv[:4])
	copy(info.iv[:], k.iv[4:])
	binary.BigEndian.PutUint64(info.sequence[:], sequence)
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), solTLS, uintptr(direction),
		uintptr(unsafe.Pointer(&info)), unsafe.Sizeof(info), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
