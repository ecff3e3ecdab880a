// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestGitLabJobPullsThroughTheDependencyProxy(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	if err := r.gl.Upstream("alpine:3.22"); err != nil {
		t.Fatal(err)
	}
	env := r.app.Job(r.jane).Env()
	if err := r.pull("gitlab.com/acme/dependency_proxy/containers/alpine:3.22", env...); err != nil {
		t.Fatal(err)
	}
	if got := r.gl.Proxied(); len(got) == 0 || got[0].Who != "jane" {
		t.Errorf("%+v", got)
	}
	w := r.with(append(r.craneEnv(), env...)...)
	if out := w.must("regmint", "run", "-q", "--", "crane", "digest", "gitlab.com:443/acme/dependency_proxy/containers/alpine:3.22"); !strings.HasPrefix(out, "sha256:") {
		t.Errorf("crane says %q", out)
	}
}

func TestGitLabTokensPullThroughTheDependencyProxy(t *testing.T) {
	r := newGitLab(t, gitlab.Options{Host: "git.corp.example", Registry: "images.corp.example"})
	if err := r.gl.Upstream("alpine:3.22"); err != nil {
		t.Fatal(err)
	}
	group := r.gl.Group("acme")
	dep, lone := group.DeployToken(gitlab.DeploySpec{Scopes: registryScopes}), r.app.DeployToken(gitlab.DeploySpec{Scopes: registryScopes})
	bot := group.Token(gitlab.TokenSpec{Level: gitlab.Reporter, Scopes: registryScopes})
	for _, tt := range []struct{ name, user, secret, who, want string }{
		{"a group's deploy token", dep.Username, dep.Secret, dep.Username, ""},
		{"a group access token", "", bot.Secret, bot.User.Username, ""},
		{"a personal access token", "", r.jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret, "jane", ""},
		{"a token that reads alone", "", r.jane.Token(gitlab.TokenSpec{Scopes: registryScopes[:1]}).Secret, "", "the Dependency Proxy needs read_registry and write_registry"},
		{"a project's deploy token", lone.Username, lone.Secret, "", "403"},
	} {
		lines := []string{r.secret(tt.secret), `url = "https://git.corp.example"`}
		if tt.user != "" {
			lines = append(lines, fmt.Sprintf("username = %q", tt.user))
		}
		r.configure(r.account(lines...))
		err := r.pull("git.corp.example/acme/dependency_proxy/containers/alpine:3.22")
		switch {
		case tt.want == "" && (err != nil || !slices.ContainsFunc(r.gl.Proxied(), func(d fakecloud.Done) bool { return d.Who == tt.who })):
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	x := r.regmint("check", "git.corp.example/acme/dependency_proxy/containers/alpine=pull")
	if x.code != 7 || !strings.Contains(x.out+x.err, "the Dependency Proxy does not take this token") {
		t.Errorf("check says %s", x)
	}
}

// The usual self-managed instance: one name, and the registry on a port of it.
func TestGitLabWithItsRegistryOnAPortNeedsNoURL(t *testing.T) {
	r := newGitLab(t, gitlab.Options{Host: "gitlab.example.com", Registry: "gitlab.example.com:5050"})
	pat := r.jane.Token(gitlab.TokenSpec{Name: "laptop", Scopes: registryScopes})
	r.configure(r.account(r.secret(pat.Secret)))
	r.pushPull(r.image())
	if x := r.regmint("check", r.gl.Registry()+"/acme/app=push"); x.code != 0 {
		t.Errorf("check: %s", x)
	}
	r.configure()
	env := r.app.Job(r.jane).Env()
	r.pushPull(r.image(), env...)
	if x := r.with(env...).run("regmint", "check", r.gl.Registry()+"/acme/app=push"); x.code != 0 {
		t.Errorf("check in a job: %s", x)
	}
	if a := r.get("gitlab.example.com:5051", env...); !a.notFound {
		t.Errorf("another port got %+v", a)
	}
}

// GitLab and its registry on two addresses of a network of one's own, reached
// without a proxy, so that the rules on addresses hold. (GitLab has a name: some
// clients refuse a realm that is the number of a private address.)
func TestGitLabAndItsRegistryOnTwoAddresses(t *testing.T) {
	cloud := fakecloud.Start(t)
	registry, err := cloud.Listen("127.0.0.2")
	if err != nil {
		t.Skip("no second loopback address (macOS: sudo ifconfig lo0 alias 127.0.0.2):", err)
	}
	host, err := cloud.Listen("localhost")
	if err != nil {
		t.Fatal(err)
	}
	gl := gitlab.New(cloud, gitlab.Options{Host: host, Registry: registry})
	r := &gitlabRig{world: newWorld(t, cloud), gl: gl, jane: gl.User("jane"), app: gl.Project("acme/app")}
	r.app.Add(r.jane, gitlab.Maintainer)
	pat := r.secret(r.jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret)
	account := fmt.Sprintf("[[account]]\nname = \"work\"\nprovider = \"gitlab\"\nhosts = [%q]\n%s\n", registry, pat)
	target := registry + "/acme/app=push"

	// A registry that names another address as its GitLab is not believed.
	r.configure(account)
	if x := r.regmint("check", target); x.code == 0 || !strings.Contains(x.out+x.err, host) || !strings.Contains(x.out+x.err, "realm_hosts") {
		t.Errorf("check without url: %s", x)
	}
	if n := cloud.Count(func(q fakecloud.Request) bool { return q.Host == host }); n != 0 {
		t.Errorf("%d requests to an address that nobody named", n)
	}
	r.configure(account + fmt.Sprintf("url = %q\n", "https://"+host))
	r.pushPull(r.image())
	if x := r.regmint("check", target); x.code != 0 {
		t.Errorf("check with url: %s", x)
	}
	// The variables of a job name both.
	r.configure()
	env := r.app.Job(r.jane).Env()
	r.pushPull(r.image(), env...)
	if x := r.with(env...).run("regmint", "check", target); x.code != 0 {
		t.Errorf("check in a job: %s", x)
	}
}
