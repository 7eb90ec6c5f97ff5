//go:build ignore

// The relay in the kernel: ChannelData to the peer, and what a peer sends to the client, at tc ingress.
//
// It relays what is plain: one datagram of a flow that user space has put into the table, with a lease that runs. All
// else it leaves alone, so that it goes up to the sockets as if there were no program: STUN, indications, fragments, IP
// options, extension headers, ChannelData that is padded or has a wrong length, payload below 4 bytes, trains (GSO), what
// would exceed the way out's MTU, unknown senders, leases and policies that are over, empty buckets. relay.sum says of
// which source the committed object is.

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// TC_ACT_UNSPEC, for tcx the same as TCX_NEXT: the programs after this one are asked, and then the packet goes up.
#define UP (-1)
#define SHOT 2

#define MAX_FLOWS 65536  // two a channel; types.go has the arithmetic
#define MAX_BUCKETS 16384

// key names the packets of a flow: who sends, which of our addresses gets it, and the channel number in front, 0 where
// there is none (from a peer). IPv4 addresses are mapped into IPv6. Everything is as on the wire.
struct key {
	__be32 src[4], dst[4];
	__be16 sport, dport;
	__be16 channel;
	__u16 zero;
};

// flow says what becomes of them. It does not change under way, except that user space replaces it when routes do.
struct flow {
	__be32 src[4], dst[4]; // the new ones
	__be32 hop[4];         // who takes them next: a gateway, or dst itself
	__be16 sport, dport;
	__be16 channel;  // to put in front; 0: the one in front is taken away
	__u16 delta;     // one's complement sum of what is new less what was, without lengths
	__u32 ifindex;   // of the way out
	__u32 mtu;       // of the way out
	__u32 lease;     // index in leases
	__u32 bucket;    // index in buckets; 0: no limit
	__u16 pseudo;    // one's complement sum of the old pseudo header, without the length
	__u8 counter;    // index in counters: up 4, up 6, down 4, down 6
	__u8 via;        // the family of hop, AF_INET or AF_INET6
};

// lease is what is counted and what can be ended at once: user space has it in its memory.
struct lease {
	__u64 until;  // CLOCK_MONOTONIC in ns; from then on everything goes up
	__u64 epoch;  // that of the policy it was granted by
	__u64 packets;
	__u64 bytes;  // of payload
	__u64 pad[4]; // no two flows share a cache line
};

// bucket is a quota in bytes of payload: what is left of what user space has put in.
struct bucket {
	__s64 tokens;
	__u64 pad[7];
};

struct count {
	__u64 packets, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct lease);
} leases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_BUCKETS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

// Of relayed packets by direction and family, and behind those, of packets left to user space by reason. types.go has
// the names.
enum {
	UP_4,
	UP_6,
	DOWN_4,
	DOWN_6,
	LEFT_OPTIONS,  // IPv4 options
	LEFT_FRAGMENT,
	LEFT_SHAPE,    // to a listener's flow, but not exactly one ChannelData; or a payload below 4 bytes
	LEFT_TRAIN,    // more than one segment
	LEFT_CHECKSUM, // not yet filled in, or none over IPv6
	LEFT_MTU,
	LEFT_HOPS,     // the last hop
	LEFT_EXPIRED,
	LEFT_EPOCH,
	LEFT_QUOTA,
	LEFT_FAILED,   // the kernel did not do as it was told: dropped
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, struct count);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} epoch SEC(".maps");

static __always_inline void count(__u32 which, __u64 bytes)
{
	struct count *c = bpf_map_lookup_elem(&counters, &which);
	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

static __always_inline int left(__u32 reason)
{
	count(reason, 0);
	return UP;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// charge takes from a bucket, and says whether there was enough. Processors at one moment may each take a packet too many;
// the debt stays in tokens.
static __always_inline bool charge(__u32 which, __u64 bytes)
{
	struct bucket *b = bpf_map_lookup_elem(&buckets, &which);
	if (!b || b->tokens < (__s64)bytes)
		return false;
	__sync_fetch_and_add(&b->tokens, -(__s64)bytes);
	return true;
}

// admit says whether a packet of payload bytes may go now, and counts it; otherwise the reason.
static __always_inline int admit(struct flow *f, __u64 bytes)
{
	__u32 zero = 0, which = f->lease;
	struct lease *l = bpf_map_lookup_elem(&leases, &which);
	__u64 *e = bpf_map_lookup_elem(&epoch, &zero);
	if (!l || !e)
		return LEFT_EXPIRED;
	if (bpf_ktime_get_ns() >= l->until)
		return LEFT_EXPIRED;
	if (l->epoch != *e)
		return LEFT_EPOCH;
	if (f->bucket && !charge(f->bucket, bytes))
		return LEFT_QUOTA;
	__sync_fetch_and_add(&l->packets, 1);
	__sync_fetch_and_add(&l->bytes, bytes);
	return -1;
}

// LINEAR pulls headers that the driver left in fragments of the buffer into its linear part. Without CAP_PERFMON the
// verifier takes only constants in the arithmetic of pointers, so the compiler must not make one piece of code of both
// families: the barrier has a text of its own in each.
#define LINEAR(iphdr)                                                                     \
	do {                                                                              \
		const __u32 need = sizeof(*eth) + sizeof(iphdr) + sizeof(struct udphdr) + 4; \
		asm volatile("# " #iphdr ::: "memory");                                    \
		if (data + need > end) {                                                  \
			if (skb->len < need || bpf_skb_pull_data(skb, need))              \
				return UP;                                                \
			data = (void *)(long)skb->data;                                   \
			end = (void *)(long)skb->data_end;                                \
			eth = data;                                                       \
		}                                                                         \
		asm volatile("# " #iphdr " is linear" ::: "memory");                       \
	} while (0)

SEC("tc")
int relay(struct __sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return UP;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end)
		return UP;
	bool v6 = eth->h_proto == bpf_htons(ETH_P_IPV6);
	if (!v6 && eth->h_proto != bpf_htons(ETH_P_IP))
		return UP;
	__u32 iplen = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);

	struct key k = {};
	struct iphdr ip = {};
	struct ipv6hdr ip6 = {};
	struct udphdr *udp;
	__u16 total; // of the IP payload
	if (v6) {
		LINEAR(struct ipv6hdr);
		struct ipv6hdr *h = (void *)(eth + 1);
		udp = (void *)(h + 1);
		if ((void *)(udp + 1) + 4 > end || h->nexthdr != IPPROTO_UDP)
			return UP;
		ip6 = *h;
		__builtin_memcpy(k.src, &h->saddr, 16);
		__builtin_memcpy(k.dst, &h->daddr, 16);
		total = bpf_ntohs(h->payload_len);
	} else {
		LINEAR(struct iphdr);
		struct iphdr *h = (void *)(eth + 1);
		udp = (void *)(h + 1);
		if ((void *)(udp + 1) + 4 > end || h->protocol != IPPROTO_UDP)
			return UP;
		if (h->ihl != 5)
			return left(LEFT_OPTIONS);
		if (h->frag_off & bpf_htons(0x3fff))
			return left(LEFT_FRAGMENT);
		ip = *h;
		k.src[2] = k.dst[2] = bpf_htonl(0xffff);
		k.src[3] = h->saddr;
		k.dst[3] = h->daddr;
		total = bpf_ntohs(h->tot_len) - sizeof(*h);
	}
	struct udphdr head = *udp;
	__be16 *payload = (void *)(udp + 1);
	__be16 channel = payload[0], size = payload[1];
	__u16 length = bpf_ntohs(head.len);
	k.sport = head.source;
	k.dport = head.dest;

	// What begins like ChannelData may be a client's, or a peer's that looks like it. 0x5000 to 0x7fff were RFC 5766's.
	struct flow *f = NULL;
	__u16 number = bpf_ntohs(channel);
	if (number >= 0x4000 && number <= 0x7fff) {
		k.channel = channel;
		f = bpf_map_lookup_elem(&flows, &k);
		k.channel = 0;
	}
	if (!f)
		f = bpf_map_lookup_elem(&flows, &k);
	if (!f)
		return UP;

	bool down = f->channel != 0;
	if (skb->gso_segs > 1)
		return left(LEFT_TRAIN);
	if (length != total || length < sizeof(head) + 4 || skb->len < sizeof(*eth) + iplen + length)
		return left(LEFT_SHAPE);
	if (!down && (length != bpf_ntohs(size) + sizeof(head) + 4 || length < sizeof(head) + 8))
		return left(LEFT_SHAPE);

	// A sender on this machine, or beside it, leaves the checksum to a device: the field has the pseudo header's sum, and
	// where the device begins to sum would be wrong after the headers have moved. One real checksum in 65,535 looks the
	// same, and loses nothing by going up.
	if (head.check ? fold((__u32)f->pseudo + head.len) == head.check : v6)
		return left(LEFT_CHECKSUM);

	__u16 bytes = length - sizeof(head) - (down ? 0 : 4);
	__u16 longer = bytes + sizeof(head) + (down ? 4 : 0);
	if (iplen + longer > f->mtu)
		return left(LEFT_MTU);
	if ((v6 ? ip6.hop_limit : ip.ttl) <= 1)
		return left(LEFT_HOPS);
	struct flow to = *f; // the buffer's pointers and this one do not outlive what follows
	int refused = admit(f, bytes);
	if (refused >= 0)
		return left(refused);

	__be16 newlen = bpf_htons(longer), clen = bpf_htons(bytes);
	if (head.check) { // over IPv4, none stays none
		__u32 sum = (__u16)~head.check;
		sum += to.delta;
		sum += (__u16)~head.len + (__u16)~head.len; // it is in the pseudo header as well
		sum += newlen + newlen;
		sum += down ? clen : (__u16)~size;
		head.check = ~fold(sum);
		if (!head.check)
			head.check = 0xffff;
	}
	head.source = to.sport;
	head.dest = to.dport;
	head.len = newlen;

	// Between the IP header and the rest 4 bytes come or go; then the headers are written anew, RFC 8656 §14: DSCP, ECN
	// and DF stay, and a hop is counted, which ends loops of relays (§21.1.7).
	if (bpf_skb_adjust_room(skb, down ? 4 : -4, BPF_ADJ_ROOM_NET, 0)) {
		count(LEFT_FAILED, 0);
		return SHOT;
	}
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	eth = data;
	if (v6) {
		struct ipv6hdr *h = (void *)(eth + 1);
		udp = (void *)(h + 1);
		payload = (void *)(udp + 1);
		if ((void *)(payload + 2) > end) {
			count(LEFT_FAILED, 0);
			return SHOT;
		}
		ip6.payload_len = newlen;
		ip6.hop_limit--;
		__builtin_memcpy(&ip6.saddr, to.src, 16);
		__builtin_memcpy(&ip6.daddr, to.dst, 16);
		*h = ip6;
	} else {
		struct iphdr *h = (void *)(eth + 1);
		udp = (void *)(h + 1);
		payload = (void *)(udp + 1);
		if ((void *)(payload + 2) > end) {
			count(LEFT_FAILED, 0);
			return SHOT;
		}
		ip.saddr = to.src[3];
		ip.daddr = to.dst[3];
		ip.tot_len = bpf_htons(longer + sizeof(ip));
		ip.ttl--;
		if (!(ip.frag_off & bpf_htons(0x4000)))
			ip.id = bpf_get_prandom_u32(); // it may be fragmented on the way: RFC 6864 §4.1
		ip.check = 0;
		__u32 sum = 0;
		__u16 *words = (void *)&ip;
#pragma unroll
		for (int i = 0; i < 10; i++)
			sum += words[i];
		ip.check = ~fold(sum);
		*h = ip;
	}
	*udp = head;
	if (down) {
		payload[0] = to.channel;
		payload[1] = clen;
	}
	count(to.counter, bytes);
	// The neighbour's address is the kernel's matter, who the neighbour is the table's: to have the route looked up here costs
	// more than all the rest of the program.
	struct bpf_redir_neigh hop = {.nh_family = to.via};
	__builtin_memcpy(hop.ipv6_nh, to.hop, sizeof(hop.ipv6_nh)); // over IPv4 the first word
	return bpf_redirect_neigh(to.ifindex, &hop, sizeof(hop), 0);
}

char _license[] SEC("license") = "Apache-2.0"; // no helper above is for GPL programs alone
