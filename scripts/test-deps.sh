#!/bin/sh
# Installs what the tests use beyond Go: a C compiler for the race detector, clang for the eBPF object, iproute2 and nftables for networks with
# NATs, coturn, OpenSSL, GnuTLS, GStreamer, sshd and Chromium as peers to test against, systemd and what boots it in a container, promtool, a kernel with TLS that runs as a process, miniupnpd as the router that maps ports, a validator of JSON Schema. Arguments are further packages. Does
# nothing where all of it is there, and says loudly what is missing where it cannot install; the tests that need it then
# skip, except that -race does not build without a compiler.
set -eu

missing=""
for package in gcc libc6-dev clang llvm libbpf-dev iproute2 nftables \
	coturn podman runc catatonit openssl gnutls-bin gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-nice openssh-server openssh-client systemd debootstrap systemd-container prometheus chromium \
	user-mode-linux python3-jsonschema python3-gi gir1.2-gstreamer-1.0 gir1.2-nice-0.1 miniupnpd-nftables "$@"; do
	status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
	[ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "test-deps: MISSING:$missing (not root, or no apt-get: install them yourself; tests that need them skip)" >&2
	exit 0
fi

log=$(mktemp)
policy=
trap 'rm -f "$log" $policy' EXIT
trap 'exit 1' INT TERM

# Debian starts a service when it installs one. A TURN server on port 3478 is not what somebody who runs tests wants:
# forbid starting for the time of the installation, and leave it disabled.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

echo "test-deps: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
install() {
	# shellcheck disable=SC2086 # one word each
	apt-get install -y -q --no-install-recommends $missing
}
if ! { install || { apt-get update -q && install; }; } >"$log" 2>&1; then
	tail -n 5 "$log" >&2
	echo "test-deps: COULD NOT INSTALL:$missing (tests that need them skip)" >&2
	exit 0
fi
for service in coturn prometheus; do
	case "$missing" in
	*"$service"*)
		deb-systemd-helper disable "$service.service" >/dev/null 2>&1 || true
		update-rc.d "$service" disable >/dev/null 2>&1 || true
		;;
	esac
done
