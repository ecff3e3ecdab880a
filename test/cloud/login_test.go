// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
	"github.com/regmint/regmint/test/fakecloud/github"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// store is what docker login does with a login that the registry has taken.
func (w *world) store(server, user, secret string) result {
	w.t.Helper()
	return w.feed(fmt.Sprintf(`{"ServerURL":%q,"Username":%q,"Secret":%q}`, server, user, secret), "docker-credential-regmint", "store")
}

// stored fails the test where the login is not kept.
func (w *world) stored(server, user, secret string) {
	w.t.Helper()
	if x := w.store(server, user, secret); x.code != 0 || x.out+x.err != "" {
		w.t.Fatalf("store %s: %s", server, x)
	}
}

// savedAs fails the test where the saved logins are not of this provider alone.
func (w *world) savedAs(provider string) {
	w.t.Helper()
	text := w.read(".config/regmint/config.d/regmint.toml")
	if n := strings.Count(text, "provider = "); n != 1 || !strings.Contains(text, fmt.Sprintf("provider = %q", provider)) {
		w.t.Errorf("%d accounts, want one of %s:\n%s", n, provider, text)
	}
}

func TestADockerLoginToDockerHubIsOfDockerHub(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	pat := r.bot.PAT(dockerhub.RepoWrite)
	// werf cr login says index.docker.io, others any other name.
	for _, server := range []string{"https://index.docker.io/v1/", "index.docker.io", "docker.io", "https://registry-1.docker.io"} {
		r.stored(server, "acme-bot", pat.Secret)
		r.savedAs("dockerhub")
	}
	r.pushPull(hubApp)
	if out := r.must("regmint", "check", "docker.io"); !strings.Contains(out, "pulls: ") {
		t.Errorf("no limit is shown: %s", out)
	}
	if x := r.regmint("get", "docker.io", "--native"); x.code != 7 || !strings.Contains(x.err, "personal access token") {
		t.Errorf("native: %s", x)
	}
	// The items of docker's own web login are kept beside it, and are no login.
	r.stored("https://index.docker.io/v1/access-token", "acme-bot", "of the web login")
	r.savedAs("dockerhub")
	if a := r.mustGet("https://index.docker.io/v1/"); a.Secret != pat.Secret {
		t.Error("another secret answers")
	}
	// An identity token is handed back as it came.
	r.must("regmint", "logout", "docker.io")
	r.stored("docker.io", "<token>", "an-identity-token")
	if a := r.mustGet("docker.io"); a.Username != "<token>" || a.Secret != "an-identity-token" {
		t.Errorf("%s", a.Username)
	}
}

func TestADockerLoginToGhcrIsOfGitHub(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	pat := r.jane.Classic(github.WritePackages, github.DeletePackages).Expire(time.Now().Add(48 * time.Hour))
	r.stored(ghcr, "jane", pat.Secret)
	r.savedAs("github")
	r.pushPull(ghcrApp + ":1")
	r.eventually("its end is known", func() bool { return r.jsonGet(ghcr)["expires_at"] != nil })
	if out := r.must("regmint", "get", ghcr+"/acme/app=delete", "--native", "--format", "env"); !strings.Contains(out, "GH_TOKEN=") {
		t.Errorf("native: %q", out)
	}
	// --provider generic is as it was, also when docker renews it.
	r.must("regmint", "logout", ghcr)
	if x := r.feed(pat.Secret, "regmint", "login", ghcr, "--provider", "generic", "-u", "jane", "--password-stdin", "--no-wire"); x.code != 0 {
		t.Fatalf("%s", x)
	}
	r.savedAs("generic")
	r.stored(ghcr, "jane", r.jane.Classic(github.WritePackages).Secret)
	r.savedAs("generic")
	if x := r.regmint("get", ghcr, "--native"); x.code == 0 {
		t.Errorf("%s", x)
	}
	if x := r.feed(pat.Secret, "regmint", "login", ghcr, "--provider", "github", "-u", "jane", "--password-stdin", "--no-wire"); x.code != 0 {
		t.Fatalf("%s", x)
	}
	r.savedAs("github")
	r.must("regmint", "logout", ghcr)
	// The token alone says who it is.
	if x := r.feed(pat.Secret, "regmint", "login", ghcr, "--password-stdin", "--no-wire"); x.code != 0 || !strings.Contains(x.err, "logged in to ghcr.io as jane") || !strings.Contains(x.err, "valid until ") {
		t.Fatalf("%s", x)
	}
	r.savedAs("github")
	if text := r.read(".config/regmint/config.d/regmint.toml"); !strings.Contains(text, `username = "jane"`) {
		t.Errorf("%s", text)
	}
	x := r.regmint("logout", ghcr)
	if !strings.Contains(x.err, "ghcr.io: still alive: the access token: delete it at https://github.com/settings/tokens") {
		t.Errorf("%s", x)
	}
}

func TestADockerLoginToGitLabIsOfGitLab(t *testing.T) {
	t.Parallel()
	r := newGitLab(t, gitlab.Options{})
	pat := r.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}})
	r.stored(r.gl.Registry(), "jane", pat.Secret)
	r.savedAs("gitlab")
	r.pushPull(r.image())
	if out := r.must("regmint", "get", r.gl.Registry(), "--native", "--format", "env"); !strings.Contains(out, "GITLAB_TOKEN=") {
		t.Errorf("native: %q", out)
	}
	if x := r.regmint("rotate", r.gl.Registry(), "--dry-run"); x.code != 0 || !strings.Contains(x.out, "replaces") {
		t.Errorf("%s", x)
	}
}

// A host that another account of GitLab names is GitLab's too.
func TestALoginIsOfTheProductThatAnotherAccountNames(t *testing.T) {
	t.Parallel()
	r := newGitLab(t, gitlab.Options{Host: "git.example.com", Registry: "registry.example.com"})
	bot := r.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}})
	r.configure(fmt.Sprintf("[[account]]\nname = \"bot\"\nprovider = \"gitlab\"\nhosts = [\"registry.example.com/bots\"]\nurl = \"https://git.example.com\"\n%s\n", r.secret(bot.Secret)))
	pat := r.jane.Token(gitlab.TokenSpec{Scopes: registryScopes})
	if x := r.feed(pat.Secret, "regmint", "login", "registry.example.com", "--as", "jane", "--password-stdin", "--no-wire"); x.code != 0 {
		t.Fatalf("%s", x)
	}
	r.savedAs("gitlab")
	if text := r.read(".config/regmint/config.d/regmint.toml"); !strings.Contains(text, `url = "https://git.example.com"`) {
		t.Errorf("%s", text)
	}
	if a := r.mustGet("registry.example.com/acme/app"); a.Secret != pat.Secret {
		t.Error("another account answers")
	}
}

// What docker pull needs is the registry: APIs that hang, fail or know nothing
// do not keep a saved login from being answered.
func TestASavedLoginIsAnsweredWithoutTheProductsAPI(t *testing.T) {
	t.Parallel()
	for _, fault := range []fakecloud.Fault{{Hang: true}, {Cut: true}, {Status: http.StatusServiceUnavailable}, {Status: http.StatusUnauthorized}} {
		t.Run(fmt.Sprintf("%+v", fault), func(t *testing.T) {
			t.Parallel()
			hub, gh, gl := newHub(t, dockerhub.Options{}), newGitHub(t, github.Options{}), newGitLab(t, gitlab.Options{})
			for _, x := range []struct {
				w                  *world
				api, path          string
				host, user, secret string
			}{
				{hub.world, dockerhub.APIHost, "", "docker.io", "acme-bot", hub.bot.PAT(dockerhub.RepoWrite).Secret},
				{gh.world, "api.github.com", "", ghcr, "jane", gh.jane.Classic(github.WritePackages).Secret},
				{gl.world, gl.gl.Host(), "/api/", gl.gl.Registry(), "jane", gl.jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret},
			} {
				f := fault
				f.Host, f.Path = x.api, x.path
				x.w.cloud.Inject(f)
				x.w.stored(x.host, x.user, x.secret)
				for range 2 {
					if a := x.w.mustGet(x.host); a.Username != x.user || a.Secret != x.secret {
						t.Errorf("%s: %s", x.host, a.Username)
					}
				}
			}
			gh.pushPull(ghcrApp + ":1")
			gl.pushPull(gl.image())
		})
	}
}

// It is refused by us with the reason, where docker would see "denied" later.
func TestAFineGrainedTokenIsRefusedByItsForm(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	fine := r.jane.FineGrained()
	x := r.store(ghcr, "jane", fine.Secret)
	if x.code != 1 || !strings.HasPrefix(x.out, "ghcr.io: GitHub Packages takes no fine-grained tokens") || !strings.Contains(x.err, "no fine-grained tokens") || strings.Contains(x.out+x.err, fine.Secret) {
		t.Errorf("%s", x)
	}
	x = r.feed(fine.Secret, "regmint", "login", ghcr, "-u", "jane", "--password-stdin", "--no-verify", "--no-wire")
	if x.code != 2 || !strings.Contains(x.err, "no fine-grained tokens") || !strings.Contains(x.err, "https://github.com/settings/tokens/new?scopes=write:packages") {
		t.Errorf("%s", x)
	}
	if text := r.read(".config/regmint/config.d/regmint.toml"); text != "" {
		t.Errorf("saved: %s", text)
	}
	if n := len(r.cloud.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker here: apt-get install docker.io")
	}
	// docker asks the registry before it stores: where that lets the token in,
	// docker shows our sentence.
	r.cloud.Inject(fakecloud.Fault{Host: ghcr, Path: "/v2/", Status: http.StatusOK})
	r.write(".docker/config.json", `{"credsStore":"regmint"}`)
	x = r.with(append(r.craneEnv(), "DOCKER_HOST=unix:///nonexistent/docker.sock")...).feed(fine.Secret, "docker", "login", "-u", "jane", "--password-stdin", ghcr)
	if x.code == 0 || !strings.Contains(x.err, "ghcr.io: GitHub Packages takes no fine-grained tokens") {
		t.Errorf("docker login: %s", x)
	}
}
