#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Gets the real clients that make e2e drives.
#
#   test/tools/clients.sh [--apt] DIR
#
# Builds crane, helm, oras and buildx once into DIR/bin, at fixed versions, from
# the Go module proxy. With --apt it also installs the Debian packages (root or
# sudo); without, it names those that are missing.
set -euo pipefail

apt=false
if [ "${1:-}" = --apt ]; then
	apt=true
	shift
fi
dir=${1:?usage: clients.sh [--apt] DIR}
mkdir -p "$dir/bin"
dir=$(cd "$dir" && pwd)

# package: a program of it that shows it is there
packages=(
	docker.io:dockerd skopeo:skopeo buildah:buildah podman:podman apache2-utils:htpasswd
	docker-registry:docker-registry gnome-keyring:gnome-keyring-daemon dbus:dbus-run-session
	libsecret-tools:secret-tool pass:pass strace:strace bubblewrap:bwrap sudo:sudo uidmap:newuidmap
)
missing=()
for p in "${packages[@]}"; do
	PATH="$PATH:/usr/sbin:/sbin" command -v "${p#*:}" >/dev/null || missing+=("${p%%:*}")
done
if [ ${#missing[@]} -gt 0 ]; then
	install=(apt-get install -y --no-install-recommends "${missing[@]}")
	if $apt; then
		as_root=()
		[ "$(id -u)" = 0 ] || as_root=(sudo)
		echo "clients: ${install[*]}"
		"${as_root[@]}" apt-get update -q
		"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -q
	else
		echo "clients: not installed: ${missing[*]}; tests that need them skip. To get them:"
		echo "  ${install[*]}"
	fi
fi

# build NAME VERSION MODULE PACKAGE: in a module of its own, because `go install
# PACKAGE@VERSION` looks for a module at the longest path first and some module
# proxies refuse that for oras.
build() {
	local out=$dir/bin/.$1-$2
	if [ ! -x "$out" ]; then
		local tmp
		tmp=$(mktemp -d)
		echo "clients: building $1 $2"
		(
			cd "$tmp"
			export CGO_ENABLED=0 GOWORK=off GOFLAGS="${GOFLAGS:-} -mod=mod"
			go mod init clients.test/build >/dev/null 2>&1
			go get "$3@$2" >log 2>&1 || { cat log && exit 1; }
			go build -trimpath -ldflags '-s -w' -o "$out.new" "$4" 2>log || { cat log && exit 1; }
		)
		mv "$out.new" "$out"
		rm -rf "$tmp"
	fi
	ln -sf "$(basename "$out")" "$dir/bin/$1"
}

build crane v0.22.1 github.com/google/go-containerregistry github.com/google/go-containerregistry/cmd/crane
build oras v1.2.3 oras.land/oras oras.land/oras/cmd/oras
build helm v3.22.0 helm.sh/helm/v3 helm.sh/helm/v3/cmd/helm
build docker-buildx v0.13.1 github.com/docker/buildx github.com/docker/buildx/cmd/buildx
