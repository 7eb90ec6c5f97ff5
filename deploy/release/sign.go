package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// What a signature is good for, and whose it is: `ssh-keygen -Y verify` is told both.
const (
	signedAs  = "traverse-release"
	signedBy  = "traverse"
	signature = sumsFile + ".sig"
)

// sign signs the checksums, and so all that is released, by OpenSSH: everybody has what verifies it. An Ed25519 key signs
// the same bytes in the same way each time. Without a key it says so: nobody shall take an unsigned release for a signed one.
func (r *release) sign(ctx context.Context) error {
	if r.key == "" {
		fmt.Fprintf(r.out, "release: NOT SIGNED: there is no key (TRAVERSE_RELEASE_KEY or -key FILE); %s holds against accidents, not against people\n", sumsFile)
		return nil
	}
	sums := filepath.Join(r.dist, sumsFile)
	_ = os.Remove(sums + ".sig") // ssh-keygen asks before it replaces one
	cmd := exec.CommandContext(ctx, "ssh-keygen", "-q", "-Y", "sign", "-n", signedAs, "-f", r.key, sums)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr // a passphrase may be asked for
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("signing %s with %s: %w", sumsFile, r.key, err)
	}
	fmt.Fprintf(r.out, "release: signed, %s\n", signature)
	return nil
}
