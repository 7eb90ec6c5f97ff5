// Package transfer moves one file over one channel: an offer, an answer, the
// body, its digest, and a verdict.
//
// The wire is docs/protocol/transfer.md. The sender opens a channel named
// file://<transfer id> and writes a header of text lines. The receiver answers
// GO or NGO; it may take hours over that, the offer lying in somebody's inbox.
// After GO the sender writes the body and a trailer with the KangarooTwelve
// digest, and the receiver says OK once the file is verified, on disk and under
// its final name. So a Send that returns nil means just that.
//
// A channel is anything that is a [Stream]: this package knows nothing of the
// mux. When the stream is an io.ReaderFrom it is handed the *os.File itself
// inside an io.LimitedReader, which is the form that finds sendfile; do not wrap
// a stream that has ReadFrom in a type that hides it. A stream that would have to
// read the file itself (SendsFiles, Fill) lets it be read into its own memory.
//
// # Ends
//
// Send, Accept and Decline end the stream in every case: by Close when the
// conversation was finished, by Reset with a code when it was not, so that both
// sides know the same thing. The commit is the receiver's rename. A sender that
// is cancelled after its trailer has left waits up to [VerdictGrace] for the
// verdict, because by then the outcome is nearly always decided.
//
// # Files
//
// A receiver writes only inside a [Dir], an os.Root. The peer's name for the file
// is refused when it contains a path or a control character, and made harmless
// otherwise ([SafeName]). Bytes arrive in a temporary file of the same directory,
// which is removed on any failure; they get their name by a rename that cannot
// replace anything, and a name already taken becomes "name (1).ext". The file and
// the directory are fsynced before OK unless AcceptOptions.NoSync says otherwise.
//
// A sender reads only regular files. A symbolic link that the user named is
// followed and lends its own name. Size and modification time are fixed when the
// [Source] is made, and a file that changes before its last byte has left resets
// the transfer: nobody receives half of one version and half of another.
//
// # Memory and goroutines
//
// A transfer holds at most ringBlocks blocks of 256 KiB, pooled, and one
// goroutine for the digest at each end; a pending [Incoming] has one goroutine
// that notices when the sender withdraws. Nothing outlives Send or Accept.
package transfer
