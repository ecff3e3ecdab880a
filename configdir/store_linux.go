// SPDX-License-Identifier: Apache-2.0

package configdir

// platformStore is docker's choice for this system (docker/cli
// credentials/default_store_linux.go).
func platformStore(onPath func(program string) bool) string {
	if onPath("pass") {
		return "pass"
	}
	return "secretservice"
}
