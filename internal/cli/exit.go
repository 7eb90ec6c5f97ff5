package cli

import "fmt"

// Exit codes. They are stable: scripts branch on them.
const (
	ExitOK             = 0
	ExitUnexpected     = 1
	ExitUsage          = 2
	ExitConfig         = 3
	ExitNoDaemon       = 4
	ExitIdentity       = 5
	ExitPeerUnknown    = 6
	ExitPeerNotFound   = 7
	ExitPeerSilent     = 8
	ExitNoPath         = 9
	ExitAuth           = 10
	ExitDeclined       = 11
	ExitCancelled      = 12
	ExitIntegrity      = 13
	ExitLocalIO        = 14
	ExitDenied         = 15
	ExitTimeout        = 16
	ExitRelayRefused   = 17
	ExitPartial        = 18
	ExitDoctorWarnings = 19
	ExitDoctorFailures = 20
	ExitInterrupted    = 130
	ExitTerminated     = 143
)

// Code is an error's name for programs, its exit code, and what it means in one line.
type Code struct {
	Name    string
	Exit    int
	Meaning string
}

// Codes lists every error code, ordered by exit code.
var Codes = []Code{
	{"E_UNEXPECTED", ExitUnexpected, "something that should not happen; the message is all there is"},
	{"E_USAGE", ExitUsage, "wrong arguments or flags"},
	{"E_CONFIG", ExitConfig, "the configuration is wrong"},
	{"E_PORT_IN_USE", ExitConfig, "an address to listen on is taken by another program"},
	{"E_NO_DAEMON", ExitNoDaemon, "the daemon does not answer on its socket"},
	{"E_IDENTITY", ExitIdentity, "the device identity is missing, unreadable, damaged, or already there"},
	{"E_PEER_UNKNOWN", ExitPeerUnknown, "no contact by this name, or an invalid device id"},
	{"E_NO_RECORD", ExitPeerNotFound, "the device left no record on the DHT"},
	{"E_PEER_SILENT", ExitPeerSilent, "the device has a record but does not answer"},
	{"E_NO_PATH", ExitNoPath, "no direct path and no relay worked"},
	{"E_AUTH", ExitAuth, "the peer's key or certificate is not the right one"},
	{"E_DECLINED", ExitDeclined, "the other side said no"},
	{"E_CANCELLED", ExitCancelled, "cancelled by one side"},
	{"E_INTEGRITY", ExitIntegrity, "the bytes that arrived are not the bytes that were sent"},
	{"E_LOCAL_IO", ExitLocalIO, "a local file could not be read or written, or the disk is full"},
	{"E_DENIED", ExitDenied, "refused by policy"},
	{"E_TIMEOUT", ExitTimeout, "the time given ran out"},
	{"E_RELAY_REFUSED", ExitRelayRefused, "the relay refused (credentials, quota)"},
	{"E_PARTIAL", ExitPartial, "some succeeded, some did not"},
	{"E_DOCTOR_WARNINGS", ExitDoctorWarnings, "doctor found what should be looked at"},
	{"E_DOCTOR_FAILURES", ExitDoctorFailures, "doctor found what is broken"},
	{"E_INTERRUPTED", ExitInterrupted, "ended by Ctrl-C (130) or by SIGTERM (143); what the daemon does goes on"},
}

// ExitOf returns the exit code of an error code's name.
func ExitOf(name string) int {
	for _, c := range Codes {
		if c.Name == name {
			return c.Exit
		}
	}
	return ExitUnexpected
}

// ExitHelp is the text of `help exit-codes`.
func ExitHelp() string {
	text := "0    success\n"
	for _, c := range Codes {
		text += fmt.Sprintf("%-4d %-16s %s\n", c.Exit, c.Name, c.Meaning)
	}
	return text
}
