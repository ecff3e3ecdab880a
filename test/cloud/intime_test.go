// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"testing"
	"time"
)

// inTime does f, which works with a credential of a life that it gets itself.
// What fails though that cannot have ended meanwhile is a defect; a machine too
// slow for so short a life is none, and f is done again. The agent answers with
// what has 3/10 of its life left, or more.
func inTime(t *testing.T, life time.Duration, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		began := time.Now()
		err := f()
		if err == nil {
			return
		}
		if time.Since(began) < life*3/10 || time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
