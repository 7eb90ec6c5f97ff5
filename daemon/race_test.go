//go:build race

package daemon

const raceDetector = true // everything takes ten times as long
