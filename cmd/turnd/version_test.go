package main

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	exit, out, errOut := command(t, "version")
	if exit != 0 || !strings.HasPrefix(out, "turnd ") || !strings.Contains(out, runtime.Version()) || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d: %s%s", exit, out, errOut)
	}
	_, out, _ = command(t, "version", "--json")
	var got struct {
		Schema, Kind, Go, Platform string
		Features                   []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Schema != "turnd.v1" || got.Kind != "version" ||
		got.Go != runtime.Version() || got.Platform != runtime.GOOS+"/"+runtime.GOARCH || slices.Contains(got.Features, "offload") != (runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64")) {
		t.Errorf("got %s: %v", out, err)
	}
}
