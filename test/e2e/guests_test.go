// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
	"github.com/regmint/regmint/test/fakecloud/github"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// shortLife is what a login's first access token lives: over when the first
// client asks, so that the pair must have been renewed.
const shortLife = time.Second

func (n *street) atHub(name, who string) guest {
	n.hub.Repository("acme/"+name, dockerhub.Private)
	return guest{image: "docker.io/acme/" + name, who: who, done: hubRegistry(n.hub, who).done}
}

// hubToken is a secret that a person saves as it is.
func hubToken(secret func(n *street) (user, secret string)) func(*street, *world, string) guest {
	return func(n *street, w *world, name string) guest {
		user, text := secret(n)
		w.logIn("dockerhub", "docker.io", user, text)
		return n.atHub(name, user)
	}
}

func hubDevice(n *street, w *world, name string) guest {
	n.alone(func() {
		n.enterCode(w, "docker.io", n.hub.Codes, func(code string) bool { return n.hub.Approve(code, n.bot) == nil })
	})
	return n.atHub(name, "acme-bot")
}

func hubConnection(n *street, w *world, name string) guest {
	w.actionsJob(n.cloud, n.acme)
	g := n.atHub(name, "acme")
	before := n.hub.Counts().Federated
	g.over = func(t *testing.T) {
		if n.hub.Counts().Federated == before {
			t.Error("no identity token was exchanged")
		}
	}
	return g
}

func gitHubAccount(g *github.GitHub, lines ...string) string {
	return fmt.Sprintf("[[account]]\nname = \"work\"\nprovider = \"github\"\nhosts = [%q]\n%s\n", g.Registry(), strings.Join(lines, "\n"))
}

func atGitHub(g *github.GitHub, name, who string) guest {
	return guest{image: g.Registry() + "/acme/" + name, who: who, done: g.Images.Done}
}

func gitHubJob(g *github.GitHub, w *world, name string) guest {
	w.enter(g.Job("acme/"+name, g.User("jane"), github.Write).Env())
	return atGitHub(g, name, "actions acme/"+name)
}

func gitHubApp(g *github.GitHub, w *world, name string) guest {
	app := g.App("minter-" + name)
	app.Install("acme", github.Write)
	w.configure(gitHubAccount(g, fmt.Sprintf("app_id = %q", strconv.Itoa(app.ID)), fmt.Sprintf("private_key = %q", "file:"+w.write("key.pem", app.Key))))
	return atGitHub(g, name, "app minter-"+name)
}

// lay has a person push the images that a guest finds.
func (n *street) lay(t *testing.T, g guest) {
	t.Helper()
	jane := n.world(t, clients[:1])
	jane.logIn("github", "ghcr.io", "jane", n.ghcr.User("jane").Classic(github.WritePackages).Secret)
	for _, ref := range []string{g.image + ":" + g.given, g.closed} {
		must(t, jane, cmd("regmint", "run", "-q", "--ca", jane.path("ca.pem"), "--", "crane", "push", jane.path("image.tar"), ref))
	}
	n.ghcr.Package(strings.TrimPrefix(g.image, "ghcr.io/")).Public(true)
}

// gitHubPair logs in with an App whose first token ends at once.
func gitHubPair(n *street, w *world, name string) guest {
	app := n.ghcr.App("tool-" + name)
	app.Install("acme", github.Write)
	w.configure(gitHubAccount(n.ghcr, fmt.Sprintf("client_id = %q", app.ClientID), `password = "keyring:pair"`))
	n.alone(func() {
		n.ghcr.Set(func(o *github.Options) { o.AccessLife = shortLife })
		n.enterCode(w, "ghcr.io", n.ghcr.Codes, func(code string) bool { return n.ghcr.Approve(code, n.ghcr.User("jane")) })
		n.ghcr.Set(func(o *github.Options) { o.AccessLife = 8 * time.Hour })
	})
	time.Sleep(shortLife)
	g := atGitHub(n.ghcr, name, "jane")
	g.over = func(t *testing.T) {
		if c := n.ghcr.Counts(); c.Refreshes == 0 || c.ReusedRefresh != 0 {
			t.Errorf("%+v", c)
		}
	}
	return g
}

func gitLabAccount(g *gitlab.GitLab, lines ...string) string {
	return fmt.Sprintf("[[account]]\nname = \"work\"\nprovider = \"gitlab\"\nhosts = [%q, %q]\nurl = %q\n%s\n",
		g.Registry(), g.Host(), "https://"+g.Host(), strings.Join(lines, "\n"))
}

func atGitLab(g *gitlab.GitLab, name string) (*gitlab.Project, *gitlab.User, guest) {
	jane, app := g.User("jane"), g.Project("acme/"+name)
	app.Add(jane, gitlab.Maintainer)
	return app, jane, guest{image: g.Registry() + "/acme/" + name, who: "jane", done: g.Images.Done}
}

func gitLabJob(g *gitlab.GitLab, w *world, name string) guest {
	app, jane, r := atGitLab(g, name)
	w.enter(app.Job(jane).Env())
	return r
}

// atTheProxy pulls what the Dependency Proxy of the group has from Docker Hub.
func atTheProxy(n *street, g guest) guest {
	g.image = n.gitlab.Host() + "/acme/dependency_proxy/containers/alpine"
	g.given = "3.22"
	g.done = func() []fakecloud.Done {
		list := n.gitlab.Proxied()
		for i := range list {
			list[i].Host = n.gitlab.Host()
		}
		return list
	}
	return g
}

// gitLabMaker has a token made for the job.
func gitLabMaker(g *gitlab.GitLab, w *world, name, key, value, who string) guest {
	_, jane, r := atGitLab(g, name)
	maker := jane.Token(gitlab.TokenSpec{Scopes: append([]string{gitlab.API}, registryScopes...)})
	w.configure(gitLabAccount(g, w.secretFile(maker.Secret), fmt.Sprintf("%s = %q", key, value)))
	r.who = who
	return r
}

// gitLabPair logs in in the browser; the first token ends at once.
func gitLabPair(n *street, w *world, name string) guest {
	_, jane, g := atGitLab(n.gitlab, name)
	app := n.gitlab.Application("tool-"+name, registryScopes...)
	w.configure(gitLabAccount(n.gitlab, fmt.Sprintf("client_id = %q", app.ClientID), `password = "keyring:pair"`))
	n.alone(func() {
		n.gitlab.Set(func(o *gitlab.Options) { o.AccessLife = shortLife })
		n.enterCode(w, n.gitlab.Registry(), n.gitlab.Codes, func(code string) bool { return n.gitlab.Approve(code, jane) == nil })
		n.gitlab.Set(func(o *gitlab.Options) { o.AccessLife = 2 * time.Hour })
	})
	time.Sleep(shortLife)
	g.over = func(t *testing.T) {
		if c := n.gitlab.Counts(); c.Refreshes == 0 || c.ReusedRefresh != 0 || c.FamiliesKilled != 0 {
			t.Errorf("%+v", c)
		}
	}
	return g
}
