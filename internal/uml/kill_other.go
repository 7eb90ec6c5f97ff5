//go:build !linux

package uml

import (
	"os/exec"
	"time"
)

const waitDelay = 5 * time.Second

func killTree(*exec.Cmd) {}
