// Package interop has no code: its tests let programs that other people wrote use our TURN server.
//
// coturn's turnutils_uclient in its modes, and Chromium with two peer connections that may only relay. A test skips, and says
// what is missing, where the program is not installed; scripts/test-deps.sh installs them.
package interop
