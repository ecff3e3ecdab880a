#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs regmint and docker-credential-regmint side by side.
set -eu

usage() {
	cat <<'EOT'
Usage: ./install.sh [--prefix DIR] [--from DIR | --url URL | --version V]

Installs regmint and docker-credential-regmint into DIR/bin.

  --prefix DIR   where to (default: ~/.local, for root /usr/local)
  --from DIR     from DIR, without a network: it holds regmint_OS_ARCH.tar.gz
                 and SHA256SUMS of a release
  --url URL      from a mirror: URL/regmint_OS_ARCH.tar.gz and URL/SHA256SUMS
  --version V    the release V, for example v1.2.0 (default: the newest)

In a checkout of the source and without --from, --url and --version it builds
from source: that needs git, make and Go.
EOT
}

say() { printf 'install: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}
bad_usage() {
	say "$*"
	usage >&2
	exit 2
}

releases=https://github.com/regmint/regmint/releases
prefix='' from='' url='' version=''
while [ $# -gt 0 ]; do
	case $1 in
	--prefix | --from | --url | --version)
		[ -n "${2:-}" ] || bad_usage "$1 needs a value"
		case $1 in
		--prefix) prefix=$2 ;;
		--from) from=$2 ;;
		--url) url=$2 ;;
		--version) version=$2 ;;
		esac
		shift 2
		;;
	-h | --help)
		usage
		exit 0
		;;
	*) bad_usage "unknown argument: $1" ;;
	esac
done
given=0
for v in "$from" "$url" "$version"; do
	[ -z "$v" ] || given=$((given + 1))
done
[ "$given" -le 1 ] || bad_usage "--from, --url and --version exclude each other"

if [ -z "$prefix" ]; then
	if [ "$(id -u)" = 0 ]; then
		prefix=/usr/local
	elif [ -n "${HOME:-}" ]; then
		prefix=$HOME/.local
	else
		die "HOME is not set; say where to install with --prefix DIR"
	fi
fi

tmp=$(mktemp -d "${TMPDIR:-/tmp}/regmint-install.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

archive_name() {
	case $(uname -s) in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	*) die "no release for $(uname -s); build from source: make build" ;;
	esac
	case $(uname -m) in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) die "no release for $(uname -s) on $(uname -m); build from source: make build" ;;
	esac
	printf 'regmint_%s_%s.tar.gz' "$os" "$arch"
}

sha256() {
	if command -v sha256sum >/dev/null 2>&1; then
		sha256sum "$1" | cut -d ' ' -f 1
	elif command -v shasum >/dev/null 2>&1; then
		shasum -a 256 "$1" | cut -d ' ' -f 1
	else
		die "neither sha256sum nor shasum found: cannot verify the archive"
	fi
}

# fetch URL FILE
fetch() {
	if command -v curl >/dev/null 2>&1; then
		curl -fsSL --retry 2 -o "$2" "$1"
	elif command -v wget >/dev/null 2>&1; then
		wget -q -O "$2" "$1"
	else
		die "neither curl nor wget found; download the archive and SHA256SUMS and use --from DIR"
	fi || die "cannot download $1; is there a release for this system? Building from source always works: make build"
}

# unpack DIR: verifies the archive in DIR and puts the two binaries into $tmp/bin.
unpack() {
	archive=$1/$2
	[ -f "$archive" ] || die "no $2 in $1"
	[ -f "$1/SHA256SUMS" ] || die "no SHA256SUMS in $1: the archive cannot be verified"
	want=$(awk -v name="$2" '$2 == name || $2 == "*" name { print $1 }' "$1/SHA256SUMS")
	case $want in
	'') die "SHA256SUMS does not name $2" ;;
	*[!0-9a-fA-F]*) die "SHA256SUMS names $2 more than once, or with a malformed checksum" ;;
	esac
	got=$(sha256 "$archive")
	[ "$(printf %s "$want" | tr A-F a-f)" = "$got" ] ||
		die "checksum of $2 is wrong: expected $want, found $got; nothing was installed"
	mkdir "$tmp/bin"
	tar -xzf "$archive" -C "$tmp/bin" regmint docker-credential-regmint ||
		die "$2 does not hold both binaries"
}

source_dir() {
	case $0 in
	*install.sh) ;;
	*) return 1 ;; # read from a pipe
	esac
	dir=$(cd "$(dirname "$0")" && pwd) || return 1
	[ -f "$dir/go.mod" ] && [ -d "$dir/cmd/docker-credential-regmint" ] || return 1
	printf %s "$dir"
}

if [ -n "$from" ]; then
	name=$(archive_name) || exit 1
	unpack "$from" "$name"
elif [ "$given" = 0 ] && src=$(source_dir); then
	for tool in make go; do
		command -v "$tool" >/dev/null 2>&1 || die "building from source needs $tool"
	done
	say "building from source in $src"
	make -s -C "$src" build BIN="$tmp/bin" >&2 || die "the build failed"
else
	name=$(archive_name) || exit 1
	if [ -z "$url" ]; then
		url=$releases/latest/download
		[ -z "$version" ] || url=$releases/download/$version
	fi
	fetch "${url%/}/$name" "$tmp/$name"
	fetch "${url%/}/SHA256SUMS" "$tmp/SHA256SUMS"
	unpack "$tmp" "$name"
fi

for b in regmint docker-credential-regmint; do
	if [ -L "$tmp/bin/$b" ] || [ ! -f "$tmp/bin/$b" ]; then
		die "$b is not a regular file; nothing was installed"
	fi
done

bindir=$prefix/bin
as_root=''
if ! mkdir -p "$bindir" 2>/dev/null || [ ! -w "$bindir" ]; then
	if [ "$(id -u)" = 0 ] || ! command -v sudo >/dev/null 2>&1; then
		die "cannot write to $bindir; choose another directory with --prefix DIR"
	fi
	say "$bindir needs root: using sudo"
	as_root=sudo
	$as_root mkdir -p "$bindir"
fi

# Each file appears whole under its name: a running client never sees half of it.
for b in regmint docker-credential-regmint; do
	new=$bindir/.$b.$$
	if ! { $as_root cp "$tmp/bin/$b" "$new" && $as_root chmod 0755 "$new" && $as_root mv -f "$new" "$bindir/$b"; }; then
		$as_root rm -f "$new"
		die "cannot write $bindir/$b"
	fi
done

say "installed $bindir/regmint and $bindir/docker-credential-regmint"
case :${PATH:-}: in
*:"$bindir":*) ;;
*) say "add $bindir to PATH: docker looks for the helper there" ;;
esac
say "next: regmint login HOST (connects docker, asks first), or regmint install"
