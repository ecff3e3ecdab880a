// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
	"github.com/regmint/regmint/test/fakecloud/github"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// hosted are registries that people log in to, and jobs have a token for. The
// other identities there are in identities.
var hosted = []vendor{
	{"Docker Hub, OIDC connection", startHubConnection, false},
	{"ghcr.io, GITHUB_TOKEN", startGitHubJob, false},
	{"registry.gitlab.com, CI_JOB_TOKEN", startGitLabJob, true},
	{"registry.gitlab.com, personal access token", startGitLabToken, false},
}

// TestEveryHostedRegistryIsPushedToAndPulledFrom is the matrix: identity × way
// × client.
func TestEveryHostedRegistryIsPushedToAndPulledFrom(t *testing.T) {
	for _, v := range hosted {
		for _, way := range jobWays {
			if v.whole && way == forPulling {
				continue
			}
			t.Run(v.name+", "+way, func(t *testing.T) {
				t.Parallel()
				v.meet(t, way)
			})
		}
	}
}

// hub is a Docker Hub with the organisation acme.
func hub(c *fakecloud.Cloud, o dockerhub.Options) (*dockerhub.Hub, *dockerhub.Org) {
	h := dockerhub.New(c, o)
	h.Repository("acme/app", dockerhub.Private)
	h.Repository("other/app", dockerhub.Private)
	return h, h.Org("acme")
}

// hubRegistry is acme's repository; Docker Hub's registry has another name than
// its images.
func hubRegistry(h *dockerhub.Hub, who string) *cloudRegistry {
	return &cloudRegistry{
		host: "docker.io", own: "acme/app", others: "other/app", who: who,
		done: func() []fakecloud.Done {
			list := h.Images.Done()
			for i := range list {
				list[i].Host = "docker.io"
			}
			return list
		},
		home: func(host string) bool {
			return strings.HasSuffix(host, ".docker.io") || host == dockerhub.IdentityHost || host == dockerhub.APIHost ||
				strings.HasSuffix(host, ".actions.githubusercontent.com")
		},
	}
}

func startHubConnection(w *world, c *fakecloud.Cloud) *cloudRegistry {
	h, acme := hub(c, dockerhub.Options{})
	w.actionsJob(c, acme)
	r := hubRegistry(h, acme.Name)
	r.less = func() { w.connect(acme, dockerhub.RepoRead) }
	return r
}

// actionsJob makes the world a job of GitHub Actions with a connection of acme.
func (w *world) actionsJob(c *fakecloud.Cloud, acme *dockerhub.Org) {
	run := c.GitHubRunner("repo:acme/app:ref:refs/heads/main")
	w.env["ACTIONS_ID_TOKEN_REQUEST_URL"], w.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = run.URL, run.Token
	w.env["DOCKERHUB_ORGANIZATION"] = acme.Name
	w.connect(acme, dockerhub.RepoWrite)
}

func (w *world) connect(acme *dockerhub.Org, s dockerhub.Scope) {
	w.env["DOCKERHUB_OIDC_CONNECTIONID"] = acme.Connect(dockerhub.Connection{Subject: "repo:acme/app:*", Scope: s}).ID
}

// logIn saves a token as a person does.
func (w *world) logIn(provider, host, user, token string) {
	w.t.Helper()
	must(w.t, w, cmd("regmint", "login", host, "--provider", provider, "-u", user, "--password-stdin", "--no-wire").in(token+"\n"))
}

// enter puts a job's variables into the environment.
func (w *world) enter(list []string) {
	for _, kv := range list {
		name, value, _ := strings.Cut(kv, "=")
		w.env[name] = value
	}
}

func gitHub(c *fakecloud.Cloud, who string) (*github.GitHub, *github.User, *cloudRegistry) {
	g := github.New(c, github.Options{})
	jane := g.User("jane")
	g.Org("acme").Add(jane)
	g.Org("other")
	return g, jane, &cloudRegistry{
		host: g.Registry(), own: "acme/app", others: "other/app", who: who, done: g.Images.Done,
		home: func(host string) bool { return host == g.Registry() || host == "api.github.com" },
	}
}

func startGitHubJob(w *world, c *fakecloud.Cloud) *cloudRegistry {
	g, jane, r := gitHub(c, "actions acme/app")
	w.enter(g.Job(r.own, jane, github.Write).Env())
	r.less = func() { w.enter(g.Job(r.own, jane, github.Read).Env()) }
	return r
}

func gitLab(c *fakecloud.Cloud) (*gitlab.Project, *gitlab.User, *cloudRegistry) {
	g := gitlab.New(c, gitlab.Options{})
	jane, app := g.User("jane"), g.Project("acme/app")
	app.Add(jane, gitlab.Maintainer)
	g.Project("other/app")
	return app, jane, &cloudRegistry{
		host: g.Registry(), own: "acme/app", others: "other/app", who: "jane", done: g.Images.Done,
		home: func(host string) bool { return host == g.Registry() || host == g.Host() },
	}
}

func startGitLabJob(w *world, c *fakecloud.Cloud) *cloudRegistry {
	app, jane, r := gitLab(c)
	w.enter(app.Job(jane).Env())
	return r
}

// startGitLabToken: jobs for pulling get a project access token of their own.
func startGitLabToken(w *world, c *fakecloud.Cloud) *cloudRegistry {
	_, jane, r := gitLab(c)
	maker := jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API, gitlab.ReadRegistry, gitlab.WriteRegistry}})
	r.narrowing = fmt.Sprintf("[[account]]\nprovider = \"gitlab\"\nhosts = [%q]\nproject = %q\npassword = %q\n",
		r.host, r.own, "file:"+w.write("maker", maker.Secret+"\n"))
	r.narrowed = "project_"
	token := jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadRegistry, gitlab.WriteRegistry}})
	r.logIn = func() { w.logIn("gitlab", r.host, "jane", token.Secret) }
	return r
}
