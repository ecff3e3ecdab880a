// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// approve enters the next code that somebody is shown.
func (r *hubRig) approve(t *testing.T, who *dockerhub.User) {
	done := entersCode(t, r.hub.Codes, func(code string) bool { return r.hub.Approve(code, who) == nil })
	t.Cleanup(func() { <-done })
}

func TestAPersonLogsInToDockerHubWithACode(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{DeviceInterval: time.Second})
	r.bot.TwoFactor("123456") // as most people have it
	r.approve(t, r.bot)
	x := r.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", "docker.io")
	if x.code != 0 || !strings.Contains(x.out, "logged in to docker.io as acme-bot") || !strings.Contains(x.out, `identity = "device"`) {
		t.Fatalf("%s", x)
	}
	r.pushPull(hubApp)
	if y := r.regmint("agent", "restart", "--force"); y.code != 0 {
		t.Fatal(y)
	}
	r.pushPull(hubApp)
	if n := r.hub.Counts(); n.Generated != 1 {
		t.Errorf("%d access tokens made", n.Generated)
	}
	if out := r.must("regmint", "get", "docker.io/acme/app=delete", "--native", "--format", "env"); !strings.Contains(out, "WERF_REPO_DOCKER_HUB_TOKEN=") {
		t.Errorf("native: %q", out)
	}
	// Docker Hub deletes the oldest of such tokens: another is made.
	for _, g := range r.bot.Generated() {
		g.Revoke()
	}
	if y := r.regmint("refresh", "docker.io"); y.code != 0 {
		t.Fatal(y)
	}
	r.pushPull(hubApp)
	if n := r.hub.Counts(); n.Generated != 2 || n.ReusedRefresh != 0 {
		t.Errorf("%+v", n)
	}
	// The session ends: a login is asked for.
	r.bot.SignOut()
	r.cloud.Advance(2 * time.Hour)
	for _, g := range r.bot.Generated() {
		g.Revoke()
	}
	if y := r.regmint("refresh", "docker.io"); y.code == 0 {
		t.Errorf("refreshed: %s", y)
	}
	if a := r.get("docker.io"); !strings.Contains(a.failure, "regmint login docker.io") {
		t.Errorf("a session that ended: %+v", a)
	}
	r.approve(t, r.bot)
	if y := r.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", "docker.io"); y.code != 0 {
		t.Fatalf("again: %s", y)
	}
	r.pushPull(hubApp)
	r.must("regmint", "logout", "docker.io")
	if a := r.get("docker.io"); !a.notFound {
		t.Errorf("logged out: %+v", a)
	}
}

func TestCtrlCAtDockerHubsLoginLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	x := r.terminal([]line{{"waiting for you", "\x03"}}, "regmint", "login", "--no-browser", "docker.io")
	if x.code != 130 || r.hub.Counts().Generated != 0 {
		t.Errorf("%s", x)
	}
	if text := r.read(".config/regmint/config.d/regmint.toml"); text != "" {
		t.Errorf("written: %s", text)
	}
}
