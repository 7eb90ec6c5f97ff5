// Package treehash is KangarooTwelve (RFC 9861, KT128): Keccak with 12 rounds over a tree of two levels, so that leaves of 8,192 bytes can be
// hashed side by side.
//
// On processors with AVX-512 eight leaves are hashed at a time by code of this package; elsewhere github.com/cloudflare/circl hashes, four
// with AVX2 and two on arm64. Both make the same digests, which the tests compare.
package treehash
