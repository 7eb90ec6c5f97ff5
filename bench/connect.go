package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
)

// connectBench takes the times of `node demo`: whole daemons with a private DHT and a relay on loopback, that find each other
// by id. The first connection of its kind is what counts; ICE and TLS are in it.
var connectBench = bench{
	group: "connect", name: "cold connect by id",
	units: []unit{
		{"direct, IPv4, ms", atMost(300, 100)},
		{"direct, IPv6, ms", atMost(300, 100)},
		{"relay only, IPv4, ms", atMost(600, 200)},
		{"relay only, IPv6, ms", atMost(600, 200)},
		{"second channel in the daemon, median ms", atMost(0.25, 0.1)},
	},
	open: func(ctx context.Context, set settings) (*rig, error) {
		return &rig{close: func() {}, variants: []variant{{"node demo", false, func(ctx context.Context) (sample, error) { return runDemo(ctx, set.node) }}}}, nil
	},
}

var demoStages = []string{"connect direct, IPv4", "connect direct, IPv6", "connect relayed, IPv4", "connect relayed, IPv6", "second channel"}

func runDemo(ctx context.Context, node string) (sample, error) {
	cmd := exec.CommandContext(ctx, node, "demo", "--json")
	var text bytes.Buffer
	cmd.Stdout = &text
	err := unpinned(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return sample{}, fmt.Errorf("node demo: %w", err)
	}
	var report struct {
		Stages []struct {
			Name string
			MS   float64
			Pass bool
		}
	}
	if err := json.Unmarshal(text.Bytes(), &report); err != nil {
		return sample{}, err
	}
	var s sample
	for _, name := range demoStages {
		found := false
		for _, stage := range report.Stages {
			if stage.Name == name && stage.Pass {
				s.cost, found = append(s.cost, stage.MS), true
			}
		}
		if !found {
			return s, fmt.Errorf("node demo has no stage %q that passed", name)
		}
	}
	return s, nil
}
