// SPDX-License-Identifier: Apache-2.0

package api

// BuildVersion is the version of both binaries, set with
// -ldflags "-X github.com/regmint/regmint/agent/api.BuildVersion=v1.2.3".
var BuildVersion = "dev"
