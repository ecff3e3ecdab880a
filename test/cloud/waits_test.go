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

// entersCode has a person enter the next code that somebody is shown; done is
// closed when they have. enter says whether the product took it.
func entersCode(t testing.TB, codes func() []string, enter func(code string) bool) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if list := codes(); len(list) > 0 && enter(list[0]) {
				return
			}
		}
		t.Error("no code was asked for, or none was taken")
	}()
	return done
}
