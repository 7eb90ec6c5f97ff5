//go:build race

package stun_test

const raceEnabled = true
