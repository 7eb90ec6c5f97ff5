// Package transferdecode is a second decoder of files over a channel, written from docs/protocol/transfer.md alone.
//
// It exists to keep that page honest: it imports nothing of Traverse and no library for the digest, reads the same vectors as package
// transfer, and that package's fuzz tests hold the two against each other. Where they differ, the page decides, and when the page does
// not say, the page is what has to change. What is wrong is told by the words of the page's section 7; the empty word means right.
package transferdecode
