// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
)

const (
	hubApp     = "docker.io/acme/app:1"
	hubSubject = "repo:acme/app:ref:refs/heads/main"
)

// hubRig is a Docker Hub with an organisation, a private repository of it and a
// robot that may do all there.
type hubRig struct {
	*world
	hub  *dockerhub.Hub
	acme *dockerhub.Org
	bot  *dockerhub.User
}

func newHub(t *testing.T, o dockerhub.Options) *hubRig {
	t.Helper()
	c := fakecloud.Start(t)
	r := &hubRig{hub: dockerhub.New(c, o)}
	r.acme, r.bot = r.hub.Org("acme"), r.hub.User("acme-bot", "correct-horse-battery")
	r.acme.Add(r.bot, dockerhub.Admin)
	r.hub.Repository("acme/app", dockerhub.Private)
	r.world = newWorld(t, c)
	return r
}

// account is the text of an account of Docker Hub.
func (r *hubRig) account(keys ...string) string {
	return "[[account]]\nname = \"hub\"\nprovider = \"dockerhub\"\nhosts = [\"docker.io\"]\n" + strings.Join(keys, "\n") + "\n"
}

func (r *hubRig) saved(user, secret string) string {
	return r.account(fmt.Sprintf("username = %q", user), fmt.Sprintf("password = %q", "file:"+r.write("hub-secret", secret+"\n")))
}

// job is the variables of a GitHub Actions job.
func (r *hubRig) job(subject string) []string {
	run := r.cloud.GitHubRunner(subject)
	return []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + run.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + run.Token}
}

func (r *hubRig) connection(scope dockerhub.Scope) *dockerhub.Connection {
	return r.acme.Connect(dockerhub.Connection{Subject: "repo:acme/app:*", Scope: scope})
}

// who are those that the registry let through.
func (r *hubRig) who() []string {
	var out []string
	for _, d := range r.hub.Images.Done() {
		if d.Repository != "" && !slices.Contains(out, d.Who) {
			out = append(out, d.Who)
		}
	}
	return out
}

func TestEachDockerHubIdentityPushesAndPulls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setUp func(r *hubRig) (account string, env []string)
		user  string
	}{
		"personal access token": {func(r *hubRig) (string, []string) {
			return r.saved("acme-bot", r.bot.PAT(dockerhub.RepoWrite).Secret), nil
		}, "acme-bot"},
		"organisation access token": {func(r *hubRig) (string, []string) {
			return r.saved("acme", r.acme.OAT(dockerhub.RepoWrite).Secret), nil
		}, "acme"},
		"password": {func(r *hubRig) (string, []string) {
			return r.saved("acme-bot", "correct-horse-battery"), nil
		}, "acme-bot"},
		"OIDC connection": {func(r *hubRig) (string, []string) {
			con := r.connection(dockerhub.RepoWrite)
			return r.account(fmt.Sprintf("oidc_connection = %q", con.ID), `organization = "acme"`, `web_identity = "github"`), r.job(hubSubject)
		}, "acme"},
		"OIDC connection, recognised": {func(r *hubRig) (string, []string) {
			return "", append(r.job(hubSubject), "DOCKERHUB_OIDC_CONNECTIONID="+r.connection(dockerhub.RepoWrite).ID, "DOCKERHUB_ORGANIZATION=acme")
		}, "acme"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newHub(t, dockerhub.Options{})
			account, env := c.setUp(r)
			if account != "" {
				r.configure(account)
			}
			r.pushPull(hubApp, env...)
			if got := r.who(); !slices.Equal(got, []string{c.user}) {
				t.Errorf("the registry saw %q", got)
			}
			// One credential under every name that clients use.
			want := r.mustGet("docker.io", env...)
			for _, key := range []string{"https://index.docker.io/v1/", "index.docker.io/acme/app", "registry-1.docker.io", "docker.io/acme/app"} {
				if a := r.mustGet(key, env...); a.Secret != want.Secret || a.Username != c.user || a.ServerURL != key {
					t.Errorf("%s: %+v", key, a)
				}
			}
			for _, key := range []string{"https://index.docker.io/v1/access-token", "https://index.docker.io/v1/refresh-token"} {
				if a := r.get(key, env...); !a.notFound {
					t.Errorf("%s: %+v", key, a)
				}
			}
			// A tool of its own, inside a job.
			out := r.with(append(r.craneEnv(), env...)...).must("regmint", "run", "-q", "--ca", r.path("cloud-ca.pem"), "--", "crane", "ls", "acme/app")
			if strings.TrimSpace(out) != "1" {
				t.Errorf("crane ls: %q", out)
			}
		})
	}
}

func TestWithoutAnIdentityDockerHubIsPublic(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	r.hub.Repository("acme/public", dockerhub.Public)
	r.configure(r.saved("acme", r.acme.OAT(dockerhub.RepoWrite).Secret))
	if err := r.push("docker.io/acme/public:1"); err != nil {
		t.Fatal(err)
	}
	r.configure()
	for _, env := range [][]string{nil, r.job(hubSubject), {"DOCKERHUB_OIDC_CONNECTIONID=0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21"}} {
		if a := r.get("docker.io", env...); !a.notFound {
			t.Errorf("%q: %+v", env, a)
		}
		if err := r.pull("docker.io/acme/public:1", env...); err != nil {
			t.Errorf("a public image: %v", err)
		}
	}
	if err := r.pull(hubApp); status(err) != http.StatusUnauthorized {
		t.Errorf("a private image: %v", err)
	}
	// A docker login goes on as ever.
	if x := r.dockerLogin("https://index.docker.io/v1/", "acme-bot", r.bot.PAT(dockerhub.RepoWrite).Secret); x.code != 0 {
		t.Fatal(x)
	}
	r.pushPull(hubApp)
	for _, h := range r.cloud.Reached() {
		if !slices.Contains([]string{"auth.docker.io", "index.docker.io", "registry-1.docker.io"}, h) {
			t.Errorf("reached %s", h)
		}
	}
}

// A connection that is named and refuses is an error, never an anonymous pull.
func TestAFailingConnectionIsNotAnonymous(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	con := r.connection(dockerhub.RepoWrite)
	env := append(r.job("repo:other/app:ref:refs/heads/main"), "DOCKERHUB_OIDC_CONNECTIONID="+con.ID, "DOCKERHUB_ORGANIZATION=acme")
	if a := r.get("docker.io", env...); !strings.Contains(a.failure, "rulesets") {
		t.Errorf("%+v", a)
	}
	con.Deactivate()
	env = append(r.job(hubSubject), env[2:]...)
	if a := r.get("docker.io", env...); !strings.Contains(a.failure, "not active") {
		t.Errorf("%+v", a)
	}
}

// docker login's web flow stores two items beside the credential; docker logout
// asks for one of them and erases all.
func TestTheItemsOfDockersWebLoginAreKeptApart(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	const key = "https://index.docker.io/v1/"
	pat := r.bot.PAT(dockerhub.RepoWrite).Secret
	for _, s := range [][2]string{{key + "access-token", "an-access-token"}, {key + "refresh-token", "v1.refresh..client"}, {key, pat}} {
		if x := r.dockerLogin(s[0], "acme-bot", s[1]); x.code != 0 {
			t.Fatalf("store %s: %s", s[0], x)
		}
	}
	for k, want := range map[string]string{key: pat, key + "access-token": "an-access-token", key + "refresh-token": "v1.refresh..client", "docker.io": pat} {
		if a := r.mustGet(k); a.Secret != want {
			t.Errorf("%s is %q", k, a.Secret)
		}
	}
	r.pushPull(hubApp)
	for _, k := range []string{key + "access-token", key + "refresh-token", key} {
		if x := r.feed(k, "docker-credential-regmint", "erase"); x.code != 0 {
			t.Errorf("erase %s: %s", k, x)
		}
	}
	for _, k := range []string{key, key + "access-token", key + "refresh-token"} {
		if a := r.get(k); !a.notFound {
			t.Errorf("%s is still there: %+v", k, a)
		}
	}
}

func TestNativeTokensOfDockerHubCleanUp(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	remove := func(tag, token string) int {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "https://hub.docker.com/v2/repositories/acme/app/tags/"+tag+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "JWT "+token) // as werf sends it
		res, err := r.cloud.Client().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	for i, account := range []string{r.saved("acme-bot", "correct-horse-battery"), r.saved("acme", r.acme.OAT(dockerhub.RepoAdmin).Secret)} {
		if i == 1 {
			r.write("hub-secret", r.acme.OAT(dockerhub.RepoAdmin).Secret)
		} else {
			r.write("hub-secret", "correct-horse-battery")
		}
		r.configure(account)
		if err := r.push(hubApp); err != nil {
			t.Fatal(err)
		}
		out := r.must("regmint", "get", "docker.io/acme/app=delete", "--native", "--format", "env")
		_, token, ok := strings.Cut(strings.TrimSpace(out), "WERF_REPO_DOCKER_HUB_TOKEN=")
		if !ok {
			t.Fatalf("%q", out)
		}
		if got := remove("1", strings.Trim(token, `'"`)); got != http.StatusNoContent {
			t.Errorf("HTTP %d", got)
		}
	}
	if got := r.hub.Deleted(); !slices.Equal(got, []string{"acme/app:1", "acme/app:1"}) {
		t.Errorf("deleted %q", got)
	}
	r.write("hub-secret", r.bot.PAT(dockerhub.RepoAdmin).Secret)
	r.configure(r.account(`username = "acme-bot"`, fmt.Sprintf("password = %q", "file:"+r.path("hub-secret"))))
	calls := r.hub.Counts().APITokens
	x := r.regmint("get", "docker.io/acme/app=delete", "--native")
	if x.code != 7 || !strings.Contains(x.err, "deletes nothing for a personal access token") || r.hub.Counts().APITokens != calls {
		t.Errorf("a personal access token: %s", x)
	}
}
