package identity_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"traverse.internal/identity"
)

func ExampleCreate() {
	home, _ := os.MkdirTemp("", "identity")
	defer os.RemoveAll(home)
	dir := filepath.Join(home, "identity")

	device, _ := identity.Create(dir)
	again, _ := identity.Load(dir)
	fmt.Println("same device:", again.ID() == device.ID())

	_, err := identity.Create(dir)
	fmt.Println("never overwritten:", errors.Is(err, identity.ErrExists))
	// Output:
	// same device: true
	// never overwritten: true
}

func ExampleParseDeviceID() {
	id, err := identity.ParseDeviceID("25njqam-cweflpm-vkl73j4-szahhit-hoc4xt3-ktcgjnj-paingr5-yhkenai")
	fmt.Println(id.Short(), err)
	_, err = identity.ParseDeviceID("25njqam-cwefipm-vkl73j4-szahhit-hoc4xt3-ktcgjnj-paingr5-yhkenai")
	fmt.Println(err)
	// Output:
	// 25NJQAM <nil>
	// identity: device id is mistyped in group 1 or 2: check digit does not fit
}
