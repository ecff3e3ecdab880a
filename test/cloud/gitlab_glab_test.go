// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestGlabThatIsAbsentOrLoggedOutIsSaidInOneLine(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	r.configure(r.account("glab = true"))
	if a := r.get(r.gl.Registry()); !strings.Contains(a.failure, "glab is not installed") {
		t.Errorf("absent: %+v", a)
	}
	cli := r.borrow()
	cli.LogOut(t, r.glabDir())
	r.must("regmint", "agent", "restart", "--force")
	if a := r.get(r.gl.Registry()); !strings.Contains(a.failure, "glab is not logged in") || !strings.Contains(a.failure, "glab auth login") {
		t.Errorf("logged out: %+v", a)
	}
	cli.LogInToken(t, r.glabDir(), r.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}))
	r.eventually("the new login of glab is used", func() bool { return r.get(r.gl.Registry()).Secret != "" })
}

func TestGlabThatHangsOrPrintsJunkIsSaidInOneLine(t *testing.T) {
	t.Parallel() // one of them waits
	for name, tt := range map[string]struct{ script, want string }{
		"junk":  {"echo Welcome to glab", "what glab prints is no token"},
		"fails": {"echo 'the keyring is locked' >&2; exit 1", "the keyring is locked"},
		"hangs": {"exec sleep 600", "glab does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newGitLab(t, gitlab.Options{})
			r.program("glab", tt.script)
			r.configure(r.account("glab = true"))
			a := r.get(r.gl.Registry())
			late := name == "hangs" && strings.Contains(a.failure, "no answer within 10s") // on a slow machine
			if !strings.Contains(a.failure, tt.want) && !late {
				t.Errorf("%+v", a)
			}
		})
	}
}
