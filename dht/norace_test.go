//go:build !race

package dht

const raced = false
