// Package reason is the one list of words that say why a path was taken or why there is none.
//
// The same word appears in the CLI, the local API, the log and the metric label `reason`, so that an operator who
// reads RELAY_TCP_FILTERED in one place can search for it in all the others. Errors carry their word by a method
//
//	Reason() reason.Code
//
// and [Of] finds it through any amount of wrapping. The package is a leaf: it imports nothing of ours, holds no state
// and is safe for concurrent use.
package reason
