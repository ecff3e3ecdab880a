// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
	"github.com/regmint/regmint/test/fakecloud/github"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// product is where clients log in by themselves.
type product struct {
	name, host string
	// person is a user with a token that may push to acme/NAME.
	person func(n *street, name string) (user, token string)
	// job is one that may push to acme/NAME, with its token; nil: there are none.
	job func(n *street, name string) (env []string, user, token string)
}

var products = []product{
	{"Docker Hub", "docker.io", func(n *street, name string) (string, string) {
		n.hub.Repository("acme/"+name, dockerhub.Private)
		return "acme-bot", n.bot.PAT(dockerhub.RepoWrite).Secret
	}, nil},
	{"ghcr.io", "ghcr.io", func(n *street, _ string) (string, string) {
		return "jane", n.ghcr.User("jane").Classic(github.WritePackages).Secret
	}, func(n *street, name string) ([]string, string, string) {
		j := n.ghcr.Job("acme/"+name, n.ghcr.User("jane"), github.Write)
		return j.Env(), j.Actor, j.Token.Secret
	}},
	{"registry.gitlab.com", "registry.gitlab.com", func(n *street, name string) (string, string) {
		_, jane, _ := atGitLab(n.gitlab, name)
		return "jane", jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret
	}, func(n *street, name string) ([]string, string, string) {
		app, jane, _ := atGitLab(n.gitlab, name)
		j := app.Job(jane)
		return j.Env(), gitlab.JobUser, j.Token
	}},
}

func (n *street) logins(t *testing.T) {
	for i, p := range products {
		for k, way := range []string{"installed", "job"} {
			name := "login" + string(rune('a'+2*i+k))
			t.Run(p.name+", "+way+", clients log in and out by themselves", func(t *testing.T) {
				t.Parallel()
				n.ownLogins(t, p, way, name)
			})
		}
		if p.job != nil {
			t.Run(p.name+", a pipeline logs in with its job's token", func(t *testing.T) {
				t.Parallel()
				n.jobLogins(t, p, "pipeline"+string(rune('a'+i)))
			})
		}
	}
	t.Run("docker login in the browser, and docker logout", func(t *testing.T) {
		t.Parallel()
		n.webLogin(t)
	})
}

func clientNamed(name string) client {
	return clients[slices.IndexFunc(clients, func(c client) bool { return c.name == name })]
}

// ownLogins is each client: refused, logging in, pushing, logging out, refused.
func (n *street) ownLogins(t *testing.T, p product, way, name string) {
	w := n.world(t, nil)
	user, token := p.person(n, name)
	var s shell = w
	if way == "job" {
		s = w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", p.host)
	} else {
		must(t, w, cmd("regmint", "install", "--containers"))
	}
	there := cloudClients
	if way == "job" { // elsewhere helm keeps logins in a file of its own
		there = append(slices.Clone(there), cloudClient{client: "helm", push: func(w *world, _ string) []command {
			chart := "oci://" + p.host + "/acme/" + name
			if p.host == "docker.io" { // helm knows the registry's own name, which has no third level
				chart = "oci://registry-1.docker.io/acme"
			}
			return []command{cmd("helm", "push", w.path("demo-1.0.0.tgz"), chart)}
		}})
	}
	for _, k := range there {
		t.Run(k.client, func(t *testing.T) {
			c := clientNamed(k.client)
			c.ready(t, w)
			push := k.push(w, p.host+"/acme/"+name+":"+k.client)
			if r := do(s, push); r.code == 0 {
				t.Fatalf("%s: nobody is logged in, and it worked\n%s", last(push), r.out)
			}
			must(t, s, withoutTLSFlags(*c.login(p.host, user, way == "job")).in(token+"\n"))
			if r := do(s, push); r.code != 0 {
				t.Errorf("%s: exit %d\n%s", last(push), r.code, r.out)
			}
			if out := must(t, s, cmd("regmint", "get", p.host)); !strings.Contains(out, token) {
				t.Error("regmint does not know of the login")
			}
			must(t, s, c.logout(p.host))
			if r := do(s, push); r.code == 0 {
				t.Errorf("%s: after the logout it works\n%s", last(push), r.out)
			}
			if r := s.run(cmd("regmint", "get", p.host)); r.code != 6 {
				t.Errorf("after a logout regmint get: exit %d\n%s", r.code, r.out)
			}
		})
	}
	for _, file := range []string{".docker/config.json", ".config/containers/auth.json"} {
		if strings.Contains(w.read(file), token) {
			t.Errorf("%s holds the token", file)
		}
	}
}

// withoutTLSFlags is a login to a registry that has TLS.
func withoutTLSFlags(c command) command {
	c.args = slices.DeleteFunc(slices.Clone(c.args), func(a string) bool { return a == "--tls-verify=false" || a == "--plain-http" })
	return c
}

// jobLogins is what pipelines say before regmint was there: docker/login-action,
// `docker login -u gitlab-ci-token`, werf ci-env; and docker login without a
// user, which stores what we answered. Nothing is kept, all go on working.
func (n *street) jobLogins(t *testing.T, p product, name string) {
	w := n.world(t, clients[:2])
	env, user, token := p.job(n, name)
	w.enter(env)
	must(t, w, cmd("regmint", "install"))
	before := w.read(".config/regmint/config.d/regmint.toml")
	image := p.host + "/acme/" + name
	push := last(cloudClients[0].push(w, image+":1"))
	for _, s := range []struct {
		name  string
		shell shell
	}{{"installed", w}, {"job", w.openJob(t, "-q", "--ca", w.path("ca.pem"))}} {
		must(t, s.shell, push)
		at := time.Now()
		must(t, s.shell, cmd("docker", "login", p.host))
		if keys := w.keys(at); !slices.Contains(keys, p.host) {
			t.Errorf("%s: docker login without a user asked for %q", s.name, keys)
		}
		// werf ci-env names the image, docker keeps its host.
		for _, server := range []string{p.host, image} {
			must(t, s.shell, cmd("docker", "login", "-u", user, "--password-stdin", server).in(token))
			must(t, s.shell, push)
		}
		must(t, s.shell, cmd("docker", "logout", p.host))
		must(t, s.shell, push)
	}
	if after := w.read(".config/regmint/config.d/regmint.toml"); after != before {
		t.Errorf("a job's token is kept: %s", after)
	}
}

// webLogin: docker's own login with a code stores two items beside the
// credential, asks for one of them to log out, and erases all.
func (n *street) webLogin(t *testing.T) {
	w := n.world(t, clients[:2])
	if v := must(t, w, cmd("docker", "version", "--format", "{{.Client.Version}}")); v < "27" {
		t.Logf("docker %s has no login in the browser", strings.TrimSpace(v))
		return
	}
	n.hub.Repository("acme/web", dockerhub.Private)
	must(t, w, cmd("regmint", "install"))
	var out string
	n.alone(func() {
		out = n.withCode(w, cmd("docker", "login"), n.hub.Codes, func(code string) bool { return n.hub.Approve(code, n.bot) == nil })
	})
	if !strings.Contains(out, "Login Succeeded") {
		t.Fatal(out)
	}
	const key = "https://index.docker.io/v1/"
	push := cloudClients[0].push(w, "docker.io/acme/web:1")
	must(t, w, last(push))
	if r := do(w, cloudClients[1].push(w, "docker.io/acme/web:2")); r.code != 0 {
		t.Errorf("docker push: %s", r.out)
	}
	for _, item := range []string{"access-token", "refresh-token"} {
		if out := must(t, w, cmd("docker-credential-regmint", "get").in(key+item)); strings.Contains(out, "dckr_pat_") {
			t.Errorf("%s is the credential", item)
		}
	}
	at := time.Now()
	must(t, w, cmd("docker", "logout"))
	if !slices.ContainsFunc(w.recent(at), func(r api.Recent) bool { return r.Key == key+"refresh-token" && r.Outcome == api.OK }) {
		t.Errorf("docker logout got no refresh token: %+v", w.recent(at))
	}
	for _, item := range []string{"", "access-token", "refresh-token"} {
		if out := mustFail(t, w, cmd("docker-credential-regmint", "get").in(key+item)); !strings.Contains(out, "credentials not found") {
			t.Errorf("%s%s: %s", key, item, out)
		}
	}
	mustFail(t, w, last(push))
}
