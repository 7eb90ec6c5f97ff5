package udp

const (
	// BatchLen is how many messages one system call moves at most; a message is a datagram, or a train of them. More gained
	// nothing in measurements, and 64 of an ordinary size still fit the second-level cache.
	BatchLen = 64
	// TrainLen is how many datagrams a train has at most: what every kernel with UDP_SEGMENT takes.
	TrainLen = 64
	// TrainBytes is how long a train is at most: with IP and UDP headers it stays below 64 KiB.
	TrainBytes = 65000
	// Headroom in front of a received packet: 20 (STUN header) + 4 + 20 (IPv6 peer address) + 4 (DATA header) = 48,
	// rounded up to a cache line.
	Headroom = 64
	// Tailroom behind a received packet, for padding to a multiple of four.
	Tailroom = 8
	// MaxPacket is the longest datagram: nothing is ever cut. A slot's untouched pages cost nothing, so short packets
	// occupy one page of 4 KiB each.
	MaxPacket = 65535

	// mostToward bounds MaxToward: 4,096 sockets are 8 MiB of the kernel's memory or less.
	mostToward = 4096

	// stride is odd in cache lines, so that the slots' heads do not fall on the same cache sets.
	stride = Headroom + MaxPacket + 1 + Tailroom + 56

	// maxParts is how many pieces of memory a batch sends at most: eight full trains of plain packets, and 64 messages of
	// head, body and padding with room to spare.
	maxParts = 512
	// arenaLen is room for the heads of packets that have none in front of them: 64 of 48 bytes, or 1,024 channel headers.
	arenaLen = 4096
)
