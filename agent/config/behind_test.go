// SPDX-License-Identifier: Apache-2.0

package config

import (
	"path/filepath"
	"testing"
)

// Passwords that lie in docker's config.json stay there: install notes the
// file, and it must come back as it was written.
func TestBehindTakesADockerConfigWithPasswords(t *testing.T) {
	file, err := filepath.Abs("config.json")
	if err != nil {
		t.Fatal(err)
	}
	s := Saved{}
	if err := s.SetBehind("*", "auths:"+file); err != nil || s.Behind["*"] != "auths:"+file {
		t.Errorf("behind %v, %v", s.Behind, err)
	}
	for _, bad := range []string{"auths:", "auths:config.json", "auth:" + file} {
		if err := s.SetBehind("ghcr.io", bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
