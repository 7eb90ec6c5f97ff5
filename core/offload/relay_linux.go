//go:build amd64 || arm64

package offload

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Built says that there is code for this system's kernel; Open, whether the kernel takes it.
const Built = true

// Relay is the program in the kernel with its tables. Its methods are safe for concurrent use.
type Relay struct {
	config Config

	mu       sync.Mutex // guards the fields below
	objs     kernelObjects
	leases   []kernelLease  // the kernel's memory: 2n and 2n+1 are of handle n
	buckets  []kernelBucket // the kernel's memory
	epoch    *uint64        // the kernel's memory
	mapped   [][]byte
	flows    map[Handle]*entry
	free     []Handle
	next     Handle
	unused   []Bucket
	bucket   Bucket // the highest in use
	routes   *netlink
	changes  *netlink
	links    links
	attached map[int]*attachment
	failed   map[int]error // interfaces that could not be attached to
	sweeps   int
	refused  []uint64 // by index in refusals
	detached uint64
	closed   bool
}

// entry is a flow that was inserted.
type entry struct {
	flow   Flow
	keys   [2]kernelKey // up, down
	out    [2]route
	parked bool // not in the kernel's table: stopped, or no way out
	over   bool // stopped
}

// Open loads the program, tries it with packets of its own, and attaches it to every Ethernet interface that is up and has
// an address of use beyond its link. Interfaces that come later are found by Sweep. The error says why there can be no
// relay in this kernel or for this process.
func Open(config Config) (*Relay, error) {
	if config.Report == nil {
		config.Report = func(error) {}
	}
	r := &Relay{
		config: config, flows: make(map[Handle]*entry), next: 1, attached: make(map[int]*attachment), failed: make(map[int]error),
		refused: make([]uint64, len(refusals)),
	}
	err := r.load()
	if err == nil {
		err = r.selfTest()
	}
	if err == nil {
		err = r.watch()
	}
	if err != nil {
		_ = r.Close()
		return nil, explain(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookAroundLocked()
	return r, nil
}

// load puts program and tables into the kernel.
func (r *Relay) load() error {
	if err := loadKernelObjects(&r.objs, nil); err != nil {
		return err
	}
	leases, err := r.mmap(r.objs.Leases, kernelFlows*int(unsafe.Sizeof(kernelLease{})))
	if err != nil {
		return err
	}
	buckets, err := r.mmap(r.objs.Buckets, kernelBuckets*int(unsafe.Sizeof(kernelBucket{})))
	if err != nil {
		return err
	}
	epoch, err := r.mmap(r.objs.Epoch, os.Getpagesize())
	if err != nil {
		return err
	}
	r.leases = unsafe.Slice((*kernelLease)(unsafe.Pointer(&leases[0])), kernelFlows)
	r.buckets = unsafe.Slice((*kernelBucket)(unsafe.Pointer(&buckets[0])), kernelBuckets)
	r.epoch = (*uint64)(unsafe.Pointer(&epoch[0]))
	return nil
}

func (r *Relay) mmap(m *ebpf.Map, size int) ([]byte, error) {
	b, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the memory of %v: %w", m, err)
	}
	r.mapped = append(r.mapped, b)
	return b, nil
}

// explain says what to do about the usual reasons.
func explain(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		return fmt.Errorf("offload: this kernel's verifier refuses the program: it takes Linux 5.10: %w", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("offload: not permitted: it takes the capabilities CAP_BPF and CAP_NET_ADMIN: %w", err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("offload: this kernel cannot: it takes Linux 5.10: %w", err)
	}
	return fmt.Errorf("offload: %w", err)
}

// Close takes the program off and frees its tables. Twice is harmless.
func (r *Relay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	for _, a := range r.attached {
		a.detach()
	}
	r.attached, r.flows = nil, nil
	for _, n := range []*netlink{r.routes, r.changes} {
		if n != nil {
			n.close()
		}
	}
	r.leases, r.buckets, r.epoch = nil, nil, nil
	for _, b := range r.mapped {
		_ = unix.Munmap(b)
	}
	if r.objs.Relay == nil {
		return nil // it was never loaded
	}
	return r.objs.Close()
}

// Invalidate ends every lease at once, for a new policy. Those that the caller renews go on.
func (r *Relay) Invalidate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		atomic.AddUint64(r.epoch, 1)
	}
}

// Stats returns the counts.
func (r *Relay) Stats() Stats {
	st := Stats{Left: make(map[string]uint64), Refused: make(map[string]uint64)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range r.refused {
		st.Refused[refusals[i].name] = n
	}
	st.Detached = r.detached
	if r.closed {
		return st
	}
	st.Flows = len(r.flows)
	st.Interfaces = r.interfacesLocked()
	for i, dir := range []string{"up", "down"} {
		for j, family := range []string{"4", "6"} {
			st.Relayed = append(st.Relayed, Relayed{dir, family, r.counterLocked(2*i + j)})
		}
	}
	for i, name := range leftNames {
		st.Left[name] = r.counterLocked(4 + i).Packets
	}
	return st
}

// counterLocked sums one counter over the processors.
func (r *Relay) counterLocked(i int) (sum Counts) {
	var each []kernelCount
	if r.objs.Counters.Lookup(uint32(i), &each) == nil {
		for _, c := range each {
			sum.Packets += c.Packets
			sum.Bytes += c.Bytes
		}
	}
	return sum
}

// words is an address as the kernel's tables have it: IPv4 mapped into IPv6, as on the wire.
func words(a netip.Addr) [4]uint32 {
	b := a.As16()
	return *(*[4]uint32)(unsafe.Pointer(&b))
}
