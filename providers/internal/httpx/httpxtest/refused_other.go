// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package httpxtest

import "testing"

// refused is a port nobody listens on.
func refused(t testing.TB, _ *CA) string {
	t.Helper()
	l := listen(t)
	_ = l.Close()
	return l.Addr().String()
}
