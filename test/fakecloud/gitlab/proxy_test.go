// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"slices"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

const proxied = "gitlab.com/acme/dependency_proxy/containers/alpine:3.22"

func TestTheDependencyProxyServesMembersOfTheGroup(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.Upstream("alpine:3.22"); err != nil {
		t.Fatal(err)
	}
	rw := []string{gitlab.ReadRegistry, gitlab.WriteRegistry}
	group := w.Group("acme").DeployToken(gitlab.DeploySpec{Scopes: rw})
	project := w.app.DeployToken(gitlab.DeploySpec{Scopes: rw})
	virtual := []string{gitlab.ReadVirtualRegistry, gitlab.WriteVirtualRegistry}
	job := w.app.Job(w.jane)
	for _, tc := range []struct {
		name, user, pass string
		status           int
	}{
		{"a PAT", "x", w.jane.Token(gitlab.TokenSpec{Scopes: rw}).Secret, 0},
		{"virtual scopes", "x", w.jane.Token(gitlab.TokenSpec{Scopes: virtual}).Secret, 0},
		{"a job", gitlab.JobUser, job.Token, 0},
		{"a group's token", "x", w.Group("acme").Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: rw}).Secret, 0},
		{"a group's deploy token", group.Username, group.Secret, 0},
		{"read_registry alone", "x", w.jane.Token(gitlab.TokenSpec{Scopes: rw[:1]}).Secret, 403},
		{"a project's token", "x", w.app.Token(gitlab.TokenSpec{Scopes: rw}).Secret, 403},
		{"a project's deploy token", project.Username, project.Secret, 403},
		{"a stranger", "x", w.User("eve").Token(gitlab.TokenSpec{Scopes: rw}).Secret, 404},
		{"a wrong one", "x", "bad", 401},
		{"nobody", "", "", 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w
			w.t = t
			err := w.pull(proxied, tc.user, tc.pass)
			if tc.status == 0 && err != nil {
				t.Error(err)
			} else if tc.status != 0 {
				wantStatus(t, err, tc.status)
			}
		})
	}
	if err := w.pull("gitlab.com:443/acme/dependency_proxy/containers/alpine:3.22", gitlab.JobUser, job.Token); err != nil {
		t.Errorf("with the port that jobs are told: %v", err)
	}
	if err := w.pull("gitlab.com/acme/dependency_proxy/containers/nothing", gitlab.JobUser, job.Token); err == nil {
		t.Error("an image that is not there came")
	}
	if !slices.ContainsFunc(w.Proxied(), func(d fakecloud.Done) bool {
		return d.Host == "gitlab.com" && d.Who == group.Username && d.Repository == "acme/dependency_proxy/containers/alpine"
	}) {
		t.Errorf("%v", w.Proxied())
	}
	status, h, _ := w.send("GET", "https://gitlab.com/v2/", "")
	if status != 401 || h.Get("Www-Authenticate") != `Bearer realm="https://gitlab.com/jwt/auth",service="dependency_proxy"` {
		t.Errorf("%d %q", status, h.Get("Www-Authenticate"))
	}
	pat := w.jane.Token(gitlab.TokenSpec{Scopes: rw})
	_, _, body := w.send("GET", "https://gitlab.com/jwt/auth?service=dependency_proxy", "", "Authorization", basic("x", pat.Secret))
	bearer := []string{"Authorization", "Bearer " + gitlab.TokenOf([]byte(body))}
	if status, _, _ := w.send("GET", "https://gitlab.com/v2/", "", bearer...); status != 200 {
		t.Errorf("%d", status)
	}
	pat.Revoke()
	if status, _, _ := w.send("GET", "https://gitlab.com/v2/", "", bearer...); status != 401 {
		t.Errorf("outlives its token: %d", status)
	}
	_, _, body = w.send("GET", "https://gitlab.com/jwt/auth?service=dependency_proxy", "", "Authorization", basic(gitlab.JobUser, job.Token))
	w.c.Advance(16 * time.Minute)
	if status, _, _ := w.send("GET", "https://gitlab.com/v2/", "", "Authorization", "Bearer "+gitlab.TokenOf([]byte(body))); status != 401 {
		t.Errorf("does not end: %d", status)
	}
}

func TestJobsAreToldWhereToGo(t *testing.T) {
	t.Parallel()
	w := start(t)
	dep := w.app.DeployToken(gitlab.DeploySpec{Name: "gitlab-deploy-token", Scopes: []string{gitlab.ReadRegistry}})
	job := w.app.Job(w.jane)
	for _, want := range []string{
		"GITLAB_CI=true", "CI_REGISTRY=registry.gitlab.com", "CI_REGISTRY_IMAGE=registry.gitlab.com/acme/app", "CI_REGISTRY_USER=gitlab-ci-token",
		"CI_REGISTRY_PASSWORD=" + job.Token, "CI_JOB_TOKEN=" + job.Token, "CI_SERVER_URL=https://gitlab.com", "CI_DEPENDENCY_PROXY_SERVER=gitlab.com:443",
		"CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX=gitlab.com:443/acme/dependency_proxy/containers", "CI_DEPLOY_USER=" + dep.Username, "CI_DEPLOY_PASSWORD=" + dep.Secret,
	} {
		if !slices.Contains(job.Env(), want) {
			t.Errorf("no %s", want)
		}
	}
	claims, err := w.c.Identity(job.IDToken("sts.example.com"), "sts.example.com")
	if err != nil || claims["sub"] != "project_path:acme/app:ref_type:branch:ref:main" {
		t.Errorf("%v %v", claims, err)
	}
	if status, _, body := w.send("GET", api+"job", "", "JOB-TOKEN", job.Token); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := w.send("GET", api+"user", "", "JOB-TOKEN", job.Token); status != 401 {
		t.Errorf("a job token opens the API: %d", status)
	}
}
