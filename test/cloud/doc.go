// SPDX-License-Identifier: Apache-2.0

// Package cloud drives the built binaries against the fake clouds: a person, a
// runner or a machine with an identity there pushes and pulls through helper
// and agent, under the registries' real names. REGMINT_RACE=1 builds the
// binaries with the race detector.
package cloud
