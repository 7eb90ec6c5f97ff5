// Package offload relays ChannelData inside the kernel, by an eBPF program at tc.
//
// A [Relay] has a table of flows. Who put one in holds it by a [Handle] and gives it a lease, which has to be renewed: when
// nobody does, or the policy has changed since, or its bucket is empty, its packets go up to the sockets again, as does
// everything that is not plain. So the sockets stay the place where things are decided, and a relay that fails leaves a
// slower server behind, not a broken one. What was relayed is counted by flow and in total, exactly.
//
// There is no goroutine here. [Relay.Sweep], called about once a second, looks after interfaces and routes.
//
// It takes Linux 5.10 (6.6 for tcx, the way of attaching that ends with the process by itself), amd64 or arm64, and the
// capabilities CAP_BPF and CAP_NET_ADMIN; [Open] says what is missing. What it relays passes netfilter by:
// docs/offload.md.
package offload

//go:generate go tool -modfile=../../tools/go.mod bpf2go -go-package offload -target bpfel -tags linux -cflags "-mcpu=v3 -Wall -Wextra -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -type key -type flow -type lease -type bucket -type count kernel relay.c
//go:generate sh -c "{ sha256sum relay.c; echo clang $(clang -dumpversion); } >relay.sum"
