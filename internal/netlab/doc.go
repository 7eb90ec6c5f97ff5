// Package netlab makes networks for tests: hosts in namespaces of their own, and cables between them.
//
// A test calls [Alone] first. What is made ends with its process, so there is nothing to clean up and nothing in the
// machine's own network.
package netlab
