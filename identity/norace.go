//go:build !race

package identity

const raced = 0
