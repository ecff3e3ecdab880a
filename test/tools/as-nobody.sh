#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# go test -exec test/tools/as-nobody.sh: runs a test binary as the user nobody,
# for tests of what root is never refused.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$1" "$dir/tests"
mkdir "$dir/home"
chmod 0755 "$dir" "$dir/tests"
chown -R nobody "$dir/home"
shift
env -i PATH="$PATH" HOME="$dir/home" TMPDIR="$dir/home" LANG="${LANG:-C}" \
	setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups "$dir/tests" "$@"
