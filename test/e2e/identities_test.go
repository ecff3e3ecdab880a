// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
	"github.com/regmint/regmint/test/fakecloud/github"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
	"github.com/regmint/regmint/test/terminal"
)

// street is Docker Hub, three GitHubs and two GitLabs on one fake cloud, with
// one engine for everybody.
type street struct {
	t      *testing.T
	cloud  *fakecloud.Cloud
	engine *dockerd

	hub       *dockerhub.Hub
	acme      *dockerhub.Org
	bot       *dockerhub.User
	ghcr      *github.GitHub // denies images to Apps
	ghe, ghes *github.GitHub // octo.ghe.com lets them
	gitlab    *gitlab.GitLab
	managed   *gitlab.GitLab // registry and GitLab have names of their own

	one sync.Mutex // of alone
}

// registryScopes are those of GitLab's registry.
var registryScopes = []string{gitlab.ReadRegistry, gitlab.WriteRegistry}

func newStreet(t *testing.T) *street {
	c := fakecloud.Start(t)
	// What is over works on for an hour: that a token is renewed shows in the
	// counts, and no client is refused because this machine is slow.
	const grace = time.Hour
	n := &street{
		t: t, cloud: c,
		ghcr:   github.New(c, github.Options{DeviceInterval: time.Second, Grace: grace}),
		ghe:    github.New(c, github.Options{Host: "octo.ghe.com", InstallationsPull: true}),
		ghes:   github.New(c, github.Options{Host: "github.corp.example"}),
		gitlab: gitlab.New(c, gitlab.Options{DeviceInterval: time.Second, Grace: grace}),
		managed: gitlab.New(c, gitlab.Options{
			Host: "git.corp.example", Registry: "images.corp.example",
		}),
	}
	n.hub, n.acme = hub(c, dockerhub.Options{DeviceInterval: time.Second})
	n.bot = n.hub.User("acme-bot", "correct-horse-battery")
	n.acme.Add(n.bot, dockerhub.Admin)
	for _, g := range []*github.GitHub{n.ghcr, n.ghe, n.ghes} {
		g.Org("acme").Add(g.User("jane"))
	}
	if err := n.gitlab.Upstream("alpine:3.22"); err != nil {
		t.Fatal(err)
	}
	base := newWorld(t)
	base.reach(t, c)
	n.engine = engineBehind(t, base.env)
	return n
}

// guest is an identity that has come to the street.
type guest struct {
	image string // HOST/REPOSITORY it pushes to and pulls from
	who   string // as the registry knows it, or how that begins
	done  func() []fakecloud.Done
	// given is a tag of image that it pulls only: nobody pushes there.
	given string
	// closed is an image that is there, and denied to it as a push is.
	closed string
	over   func(t *testing.T) // looks at the counts
}

// identities are all that there are at these products.
var identities = []struct {
	name string
	come func(n *street, w *world, name string) guest
}{
	{"Docker Hub, personal access token", hubToken(func(n *street) (string, string) {
		return "acme-bot", n.bot.PAT(dockerhub.RepoWrite).Secret
	})},
	{"Docker Hub, password", hubToken(func(*street) (string, string) { return "acme-bot", "correct-horse-battery" })},
	{"Docker Hub, organisation access token", hubToken(func(n *street) (string, string) {
		return "acme", n.acme.OAT(dockerhub.RepoWrite).Secret
	})},
	{"Docker Hub, device login", hubDevice},
	{"Docker Hub, OIDC connection", hubConnection},
	{"ghcr.io, classic token", func(n *street, w *world, name string) guest {
		jane := n.ghcr.User("jane")
		w.logIn("github", "ghcr.io", "jane", jane.Classic(github.WritePackages).Secret)
		return atGitHub(n.ghcr, name, "jane")
	}},
	{"ghcr.io, GITHUB_TOKEN", func(n *street, w *world, name string) guest { return gitHubJob(n.ghcr, w, name) }},
	{"ghcr.io, login with a code", func(n *street, w *world, name string) guest {
		w.configure(gitHubAccount(n.ghcr, fmt.Sprintf("client_id = %q", n.ghcr.OAuthApp("tool").ClientID), `password = "keyring:ghcr"`))
		n.alone(func() {
			n.enterCode(w, "ghcr.io", n.ghcr.Codes, func(code string) bool { return n.ghcr.Approve(code, n.ghcr.User("jane")) })
		})
		return atGitHub(n.ghcr, name, "jane")
	}},
	{"ghcr.io, expiring pair of a login with a code", gitHubPair},
	{"ghcr.io, gh", func(n *street, w *world, name string) guest {
		cli := n.ghcr.CLI(w.t)
		cli.LogIn(n.ghcr.User("jane"), github.WritePackages)
		w.env["PATH"] = cli.Dir + ":" + w.env["PATH"]
		w.configure(gitHubAccount(n.ghcr, "gh = true"))
		return atGitHub(n.ghcr, name, "jane")
	}},
	{"ghcr.io, App, which it denies private images", func(n *street, w *world, name string) guest {
		g := gitHubApp(n.ghcr, w, name)
		g.closed = g.image + ":private"
		g.image, g.given = "ghcr.io/acme/public", "1"
		n.lay(w.t, g)
		return g
	}},
	{"GHE.com, App, which is let in", func(n *street, w *world, name string) guest { return gitHubApp(n.ghe, w, name) }},
	{"GHE.com, classic token", func(n *street, w *world, name string) guest {
		w.logIn("github", n.ghe.Registry(), "jane", n.ghe.User("jane").Classic(github.WritePackages).Secret)
		return atGitHub(n.ghe, name, "jane")
	}},
	{"GHE.com, GITHUB_TOKEN", func(n *street, w *world, name string) guest { return gitHubJob(n.ghe, w, name) }},
	{"Enterprise Server, classic token", func(n *street, w *world, name string) guest {
		w.configure(gitHubAccount(n.ghes, w.secretFile(n.ghes.User("jane").Classic(github.WritePackages).Secret)))
		return atGitHub(n.ghes, name, "jane")
	}},
	{"Enterprise Server, GITHUB_TOKEN", func(n *street, w *world, name string) guest {
		w.configure(gitHubAccount(n.ghes, `password = "env:GITHUB_TOKEN"`))
		return gitHubJob(n.ghes, w, name)
	}},
	{"GitLab, CI_JOB_TOKEN", func(n *street, w *world, name string) guest { return gitLabJob(n.gitlab, w, name) }},
	{"GitLab, CI_JOB_TOKEN at the Dependency Proxy", func(n *street, w *world, name string) guest {
		g := gitLabJob(n.gitlab, w, name)
		return atTheProxy(n, g)
	}},
	{"GitLab, personal access token", func(n *street, w *world, name string) guest {
		_, jane, g := atGitLab(n.gitlab, name)
		w.logIn("gitlab", n.gitlab.Registry(), "jane", jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret)
		return g
	}},
	{"GitLab, personal access token at the Dependency Proxy", func(n *street, w *world, name string) guest {
		_, jane, g := atGitLab(n.gitlab, name)
		w.configure(gitLabAccount(n.gitlab, w.secretFile(jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret)))
		return atTheProxy(n, g)
	}},
	{"GitLab, deploy token", func(n *street, w *world, name string) guest {
		app, _, g := atGitLab(n.gitlab, name)
		d := app.DeployToken(gitlab.DeploySpec{Scopes: registryScopes})
		w.configure(gitLabAccount(n.gitlab, fmt.Sprintf("username = %q", d.Username), w.secretFile(d.Secret)))
		g.who = d.Username
		return g
	}},
	{"GitLab, expiring pair of a login in the browser", gitLabPair},
	{"GitLab, glab", func(n *street, w *world, name string) guest {
		_, jane, g := atGitLab(n.gitlab, name)
		cli := n.gitlab.Glab(w.t)
		n.alone(func() { cli.LogIn(w.t, w.path(".config", "glab-cli"), jane) })
		w.env["PATH"] = cli.Dir + ":" + w.env["PATH"]
		w.configure(gitLabAccount(n.gitlab, "glab = true"))
		return g
	}},
	{"GitLab, project access token made for the job", func(n *street, w *world, name string) guest {
		return gitLabMaker(n.gitlab, w, name, "project", "acme/"+name, "project_")
	}},
	{"GitLab, group access token made for the job", func(n *street, w *world, name string) guest {
		n.gitlab.Group("acme").Add(n.gitlab.User("jane"), gitlab.Owner)
		return gitLabMaker(n.gitlab, w, name, "group", "acme", "group_")
	}},
	{"self-managed GitLab, CI_JOB_TOKEN", func(n *street, w *world, name string) guest { return gitLabJob(n.managed, w, name) }},
	{"self-managed GitLab, deploy token of a job", func(n *street, w *world, name string) guest {
		app, jane, g := atGitLab(n.managed, name)
		g.who = app.DeployToken(gitlab.DeploySpec{Name: "gitlab-deploy-token", Scopes: registryScopes}).Username
		w.configure(gitLabAccount(n.managed, `identity = "deploy"`))
		w.enter(app.Job(jane).Env())
		return g
	}},
	{"self-managed GitLab, project access token", func(n *street, w *world, name string) guest {
		app, _, g := atGitLab(n.managed, name)
		token := app.Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: registryScopes})
		w.configure(gitLabAccount(n.managed, w.secretFile(token.Secret)))
		g.who = token.User.Username
		return g
	}},
}

// TestOnTheStreet has all tests that share one engine.
func TestOnTheStreet(t *testing.T) {
	t.Parallel()
	need(t, "crane", "docker", "dockerd", "helm", "bash")
	n := newStreet(t)
	t.Run("all", func(t *testing.T) { // over before the street is
		for i, id := range identities {
			t.Run(id.name+" pushes and pulls with crane and docker", func(t *testing.T) {
				t.Parallel()
				w := n.world(t, clients[:2])
				id.come(n, w, fmt.Sprintf("app%d", i)).visit(t, w)
			})
		}
		n.logins(t)
	})
}

// alone runs one function at a time: those that read codes, and those that
// change or mind what lives how long.
func (n *street) alone(f func()) {
	n.one.Lock()
	defer n.one.Unlock()
	f()
}

// world is a person who lives here.
func (n *street) world(t *testing.T, programs []client) *world {
	t.Helper()
	w := newWorld(t)
	w.reach(t, n.cloud)
	w.configure()
	for _, k := range programs {
		k.ready(t, w)
	}
	w.env["DOCKER_HOST"] = "unix://" + n.engine.socket()
	return w
}

// visit is crane and docker pushing and pulling in a job.
func (g guest) visit(t *testing.T, w *world) {
	t.Helper()
	j := w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", g.image+"=push")
	for _, k := range cloudClients[:2] {
		ref := g.image + ":" + k.client
		if g.given == "" {
			g.works(t, w, j, k.push(w, ref))
		} else {
			ref = g.image + ":" + g.given
		}
		g.works(t, w, j, k.pull(w, ref))
		if g.closed != "" {
			isDenied(t, j, k.push(w, g.closed))
			isDenied(t, j, k.pull(w, g.closed))
		}
	}
	for _, action := range []string{"push", "pull"} {
		if (g.given == "" || action == "pull") && !slices.ContainsFunc(g.done(), func(d fakecloud.Done) bool {
			return strings.HasPrefix(d.Who, g.who) && d.Action == action && g.image == d.Host+"/"+d.Repository
		}) {
			t.Errorf("no %s of %s by %s in %v", action, g.image, g.who, g.done())
		}
	}
	if g.over != nil {
		g.over(t)
	}
}

func (g guest) works(t *testing.T, w *world, s shell, list []command) {
	t.Helper()
	r := do(s, list)
	if r.code != 0 {
		t.Fatalf("%s: exit %d\n%s", last(list), r.code, r.out)
	}
	if len(w.keys(r.at)) == 0 {
		t.Errorf("%s: regmint was not asked", last(list))
	}
}

// isDenied: the client says so itself; a HEAD has no body to show.
func isDenied(t *testing.T, s shell, list []command) {
	t.Helper()
	if r := do(s, list); r.code == 0 || !strings.Contains(r.out, "denied") && !strings.Contains(r.out, "403 Forbidden") && !strings.Contains(r.out, "DENIED") {
		t.Errorf("%s: exit %d\n%s", last(list), r.code, r.out)
	}
}

// secretFile is the line of an account whose password is in a file.
func (w *world) secretFile(text string) string {
	return fmt.Sprintf("password = %q", "file:"+w.write("secret", text+"\n"))
}

// enterCode is a login on a terminal, and a person who enters its code.
func (n *street) enterCode(w *world, host string, codes func() []string, approve func(string) bool) {
	w.t.Helper()
	out := n.withCode(w, cmd("regmint", "login", "--no-browser", "--no-wire", host), codes, approve)
	if !strings.Contains(out, "logged in to "+host) {
		w.t.Fatal(out)
	}
}

// withCode runs on a terminal what shows a code, while a person enters that.
func (n *street) withCode(w *world, c command, codes func() []string, approve func(string) bool) string {
	w.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for end := time.Now().Add(commandLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if list := codes(); len(list) > 0 && approve(list[0]) {
				return
			}
		}
		w.t.Error("no code was asked for")
	}()
	p := w.process(w.t.Context(), c)
	p.Cancel, p.WaitDelay = nil, 0
	out, err := terminal.Run(w.t, p, commandLimit)
	<-done
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return out
}
