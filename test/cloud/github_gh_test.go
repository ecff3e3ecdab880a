// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"os"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/github"
)

// borrow puts a fake gh on the agent's PATH.
func (r *githubRig) borrow() *github.CLI {
	r.t.Helper()
	cli := r.gh.CLI(r.t)
	if err := os.MkdirAll(r.path("bin"), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Symlink(cli.Path, r.path("bin", "gh")); err != nil {
		r.t.Fatal(err)
	}
	return cli
}

func TestGhIsOfferedOnATerminal(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	link := "https://github.com/settings/tokens/new?scopes=read:packages,write:packages"
	x := r.regmint("login", ghcr)
	if x.code != 4 || !strings.Contains(x.err, "gh is not installed") || !strings.Contains(x.err, link) {
		t.Errorf("gh absent: %s", x)
	}
	cli := r.borrow()
	if x = r.regmint("login", ghcr); x.code != 4 || !strings.Contains(x.err, "gh is not logged in to github.com") {
		t.Errorf("gh logged out: %s", x)
	}
	cli.LogIn(r.jane)
	if x = r.regmint("login", ghcr); x.code != 4 || !strings.Contains(x.err, "gh auth refresh -h github.com -s read:packages,write:packages") {
		t.Errorf("gh without scopes: %s", x)
	}
	cli.LogIn(r.jane, github.WritePackages)
	if a := r.get(ghcr); !a.notFound {
		t.Errorf("borrowed unasked: %+v", a)
	}
	x = r.terminal([]line{{"Number [1-2]: ", "1"}}, "regmint", "login", "--no-wire", ghcr)
	if x.code != 0 || !strings.Contains(x.out, "gh = true") || !strings.Contains(x.out, "logged in to ghcr.io as jane") {
		t.Fatalf("%s", x)
	}
	r.pushPull(ghcrApp + ":1")
	cli.LogOut()
	if y := r.regmint("refresh", ghcr); y.code == 0 {
		t.Errorf("refreshed from nothing: %s", y)
	}
	if a := r.get(ghcr); !strings.Contains(a.failure, "gh auth login") {
		t.Errorf("%+v", a)
	}
}

func TestAGhThatHangsOrIsOldIsALineEach(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"hangs":  "gh did not end within 5s; see: gh auth status -h github.com",
		"is old": "gh is too old to hand its token out; update it",
		"talks":  "gh wrote something that is no token; see: gh auth token -h github.com",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newGitHub(t, github.Options{})
			cli := r.borrow()
			cli.LogIn(r.jane, github.WritePackages)
			switch name {
			case "hangs":
				r.cloud.Inject(fakecloud.Fault{Host: "gh", Hang: true})
			case "is old":
				cli.Break(&github.GhWithoutToken)
			default:
				cli.Break(&fakecloud.Result{Stdout: "A new release of gh is available\n" + cli.LogIn(r.jane).Secret + "\n"})
			}
			r.configure(githubAccount("gh = true"))
			a := r.get(ghcr)
			late := name == "hangs" && strings.Contains(a.failure, "no answer within 10s") // on a machine that crawls
			if a.failure != "ghcr.io: "+want && !late {
				t.Errorf("%+v", a)
			}
		})
	}
}
