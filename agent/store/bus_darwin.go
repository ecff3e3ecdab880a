// SPDX-License-Identifier: Apache-2.0

package store

// ringLimit: /usr/bin/security reads a command of at most 4096 bytes, and the
// secret stands in it as base64 beside the names.
const ringLimit = 2300

const ringName = "macOS keychain"

func childEnv(env []string) []string { return pick(env, "HOME", "USER", "LOGNAME", "TMPDIR") }
