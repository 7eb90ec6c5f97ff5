// Package cli is what the two programs' surfaces share: exit codes, errors that say what, why and what to try, and the JSON envelope.
//
// A command returns an error; [Report] prints it and gives the exit code. Packages below the programs know nothing of
// exit codes: the program maps their typed errors to an [Error] at the edge.
package cli
