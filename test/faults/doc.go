// SPDX-License-Identifier: Apache-2.0

// Package faults holds the tests that break things around the built binaries:
// processes are killed, disks fill up, other users knock, clients misbehave,
// and what was promised must hold. `go test ./test/faults` has the sizes of a
// commit, REGMINT_FULL=1 those of a night. REGMINT_RACE=1 builds the binaries
// with the race detector; a report of it in any of them is a failure.
package faults
