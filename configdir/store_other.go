// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package configdir

import "runtime"

// platformStore is docker's choice for this system (docker/cli
// credentials/default_store_*.go).
func platformStore(func(program string) bool) string {
	switch runtime.GOOS {
	case "darwin":
		return "osxkeychain"
	case "windows":
		return "wincred"
	}
	return ""
}
