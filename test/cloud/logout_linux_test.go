// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// loggedInHub is a person who is logged in to Docker Hub with a code.
func loggedInHub(t *testing.T) *hubRig {
	t.Helper()
	r := newHub(t, dockerhub.Options{DeviceInterval: time.Second})
	r.approve(t, r.bot)
	if x := r.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", "docker.io"); x.code != 0 || r.bot.Sessions() != 1 {
		t.Fatalf("%d sessions: %s", r.bot.Sessions(), x)
	}
	return r
}

func TestLogoutEndsTheSessionAtDockerHub(t *testing.T) {
	t.Parallel()
	r := loggedInHub(t)
	pat := r.mustGet("docker.io").Secret
	x := r.regmint("logout", "docker.io")
	if x.code != 0 || !strings.Contains(x.err, "logged out of docker.io") ||
		!strings.Contains(x.err, "docker.io: ended the login at Docker Hub; still alive: the access token") || strings.Contains(x.err, pat) {
		t.Errorf("%s", x)
	}
	if n := r.bot.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if a := r.get("docker.io"); !a.notFound {
		t.Errorf("%+v", a)
	}
}

// What docker does at a logout: it asks for the item of its own web login, then
// erases.
func TestDockersLogoutEndsTheSessionThatRegmintMade(t *testing.T) {
	t.Parallel()
	r := loggedInHub(t)
	if a := r.get("https://index.docker.io/v1/refresh-token"); !a.notFound {
		t.Errorf("%+v", a)
	}
	for range 2 { // the second finds nothing
		if x := r.feed("https://index.docker.io/v1/", "docker-credential-regmint", "erase"); x.code != 0 || x.out+x.err != "" {
			t.Errorf("%s", x)
		}
	}
	if n := r.bot.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if a := r.get("docker.io"); !a.notFound {
		t.Errorf("%+v", a)
	}
}

// Neither an agent nor the product is needed to forget a login here.
func TestLogoutNeedsNeitherAgentNorProduct(t *testing.T) {
	t.Parallel()
	r := loggedInHub(t)
	r.regmint("agent", "stop", "--force")
	r.cloud.Inject(fakecloud.Fault{Host: dockerhub.LoginHost, Status: http.StatusServiceUnavailable, Times: 1000})
	x := r.with("REGMINT_AGENT=off").run("regmint", "logout", "docker.io")
	if x.code != 0 || !strings.Contains(x.err, "logged out of docker.io") || !strings.Contains(x.err, "docker.io: still alive: the login at Docker Hub") {
		t.Errorf("%s", x)
	}
	if text := r.read(".config/regmint/config.d/regmint.toml"); strings.Contains(text, "docker.io") {
		t.Errorf("still written: %s", text)
	}
	if x := r.with("REGMINT_AGENT=off").feed("docker.io", "docker-credential-regmint", "get"); !strings.Contains(x.out, "credentials not found") {
		t.Errorf("%s", x)
	}
}

func TestLogoutEndsALoginAtGitLab(t *testing.T) {
	t.Parallel()
	r := newGitLab(t, gitlab.Options{DeviceInterval: time.Second})
	app := r.gl.Application("regmint", registryScopes...)
	r.configure(r.account(fmt.Sprintf("client_id = %q", app.ClientID), `password = "keyring:browser"`))
	done := entersCode(t, r.gl.Codes, func(code string) bool { return r.gl.Approve(code, r.jane) == nil })
	x := r.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", r.gl.Registry())
	<-done
	if x.code != 0 {
		t.Fatalf("%s", x)
	}
	r.pushPull(r.image())
	x = r.regmint("logout", r.gl.Registry())
	if x.code != 0 || !strings.Contains(x.err, "removed the saved secret of account work") || !strings.Contains(x.err, "registry.gitlab.com: ended the login at https://gitlab.com") {
		t.Errorf("%s", x)
	}
	if !slices.ContainsFunc(r.gl.Revoked(), func(v gitlab.Revocation) bool { return v.Why == gitlab.ByOAuth }) {
		t.Errorf("revoked: %+v", r.gl.Revoked())
	}
	if a := r.get(r.gl.Registry()); !strings.Contains(a.failure, "regmint login") {
		t.Errorf("%+v", a)
	}
}
