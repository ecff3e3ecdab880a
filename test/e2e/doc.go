// SPDX-License-Identifier: Apache-2.0

// Package e2e drives real, unmodified clients through the built binaries:
// crane, docker with its engine and buildx, skopeo, podman, buildah, oras and
// helm, against registries on loopback, and against fake clouds under their
// registries' real names. Run it with `make e2e`; with
// REGMINT_E2E_REPORT set it writes the measured tables of docs/clients.md.
package e2e
