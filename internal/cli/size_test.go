package cli

import "testing"

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 300_000_000: "286.1 MiB", 1 << 30: "1.0 GiB", 3 << 50: "3072.0 TiB",
	} {
		if got := Size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := Size(int64(-1)); got != "-1 B" {
		t.Errorf("-1: %q", got)
	}
}
