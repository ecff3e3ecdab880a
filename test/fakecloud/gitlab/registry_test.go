// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestEveryIdentityPullsAndPushesWhatItsScopesSay(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.jane.SetPassword("hunter22")
	rw := []string{gitlab.ReadRegistry, gitlab.WriteRegistry}
	pat := func(scopes ...string) string { return w.jane.Token(gitlab.TokenSpec{Scopes: scopes}).Secret }
	dep := w.app.DeployToken(gitlab.DeploySpec{Scopes: rw})
	named := w.app.DeployToken(gitlab.DeploySpec{Username: "ci", Scopes: []string{gitlab.ReadRegistry}})
	group := w.Group("acme").DeployToken(gitlab.DeploySpec{Scopes: rw})
	other := w.Project("acme/other").DeployToken(gitlab.DeploySpec{Scopes: rw})
	job := w.app.Job(w.jane)
	foreign := w.Project("acme/other").Job(w.jane)
	pair := w.jane.OAuth(w.Application("tool", gitlab.API, gitlab.ReadRegistry), gitlab.API)
	for _, tc := range []struct{ name, user, pass, want string }{
		{"a password", "jane", "hunter22", "pull push"},
		{"a wrong password", "jane", "hunter23", ""},
		{"a PAT under any name", "whoever", pat(rw...), "pull push"},
		{"a PAT with api", "jane", pat(gitlab.API), "pull push"},
		{"a PAT with read_registry", "jane", pat(gitlab.ReadRegistry), "pull"},
		{"a PAT with read_api", "jane", pat(gitlab.ReadAPI), "pull"},
		{"a PAT with read_user", "jane", pat(gitlab.ReadUser), ""},
		{"an unknown PAT", "jane", "glpat-unknown", ""},
		{"a Developer's project token", "x", w.app.Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: rw}).Secret, "pull push"},
		{"a Reporter's project token", "x", w.app.Token(gitlab.TokenSpec{Level: gitlab.Reporter, Scopes: rw}).Secret, "pull"},
		{"a Guest's project token", "x", w.app.Token(gitlab.TokenSpec{Level: gitlab.Guest, Scopes: rw}).Secret, ""},
		{"a group token", "x", w.Group("acme").Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: rw}).Secret, "pull push"},
		{"another project's token", "x", w.Project("acme/other").Token(gitlab.TokenSpec{Scopes: rw}).Secret, ""},
		{"a deploy token", dep.Username, dep.Secret, "pull push"},
		{"a deploy token under another name", "whoever", dep.Secret, ""},
		{"a deploy token that reads", "ci", named.Secret, "pull"},
		{"a group's deploy token", group.Username, group.Secret, "pull push"},
		{"another project's deploy token", other.Username, other.Secret, ""},
		{"a job", gitlab.JobUser, job.Token, "pull push"},
		{"a job under another name", "jane", job.Token, ""},
		{"another project's job", gitlab.JobUser, foreign.Token, ""},
		{"OAuth", "oauth2", pair.Access, "pull push"},
		{"nobody", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w
			w.t = t
			if got := w.can(image, tc.user, tc.pass); got != tc.want {
				t.Errorf("%q, not %q", got, tc.want)
			}
		})
	}
	job.End()
	wantStatus(t, w.pull(image+":seed", gitlab.JobUser, job.Token), 401, "HTTP Basic: Access denied")
	w.app.AllowJobsOf(foreign.Project)
	if got := w.can(image, gitlab.JobUser, foreign.Token); got != "pull" {
		t.Errorf("an allowed project's job: %q", got)
	}
	w.app.SetVisibility(gitlab.Public)
	if got := w.can(image, "", ""); got != "pull" {
		t.Errorf("anybody, of a public project: %q", got)
	}
	w.jane.TwoFactor(true)
	wantStatus(t, w.push(image, "jane", "hunter22"), 401)
	if !slices.ContainsFunc(w.Images.Done(), func(d fakecloud.Done) bool {
		return d.Host == "registry.gitlab.com" && d.Who == dep.Username && d.Action == "push" && d.Repository == "acme/app/web"
	}) {
		t.Errorf("%v", w.Images.Done())
	}
}

func TestTheTokenEndpointAnswersLessInsteadOfRefusing(t *testing.T) {
	t.Parallel()
	w := start(t)
	dev := w.User("dev")
	w.app.Add(dev, gitlab.Developer)
	pat := func(u *gitlab.User, scopes ...string) string { return u.Token(gitlab.TokenSpec{Scopes: scopes}).Secret }
	job := w.app.Job(w.jane).Token
	const all = "repository:acme/app:pull,push,delete,*"
	for _, tc := range []struct {
		name, user, pass string
		scopes           []string
		status           int
		want             []string
	}{
		{"a maintainer with api", "x", pat(w.jane, gitlab.API), []string{all}, 200, []string{all}},
		{"a developer with api", "x", pat(dev, gitlab.API), []string{all}, 200, []string{"repository:acme/app:pull,push"}},
		{"registry scopes cannot delete", "x", pat(w.jane, gitlab.ReadRegistry, gitlab.WriteRegistry), []string{all}, 200, []string{"repository:acme/app:pull,push"}},
		{"write alone does not read", "x", pat(w.jane, gitlab.WriteRegistry), []string{all}, 200, []string{"repository:acme/app:push"}},
		{"a job deletes in its project", gitlab.JobUser, job, []string{all}, 200, []string{"repository:acme/app:pull,push,delete"}},
		{"unknown actions", "x", pat(w.jane, gitlab.API), []string{"repository:acme/app:pull,admin"}, 200, []string{"repository:acme/app:pull"}},
		{"nothing is left", "x", pat(w.jane, gitlab.API), []string{"repository:acme/none:pull"}, 200, []string{}},
		{"no scope", "x", pat(w.jane, gitlab.API), nil, 200, []string{}},
		{"two scopes", "x", pat(w.jane, gitlab.API), []string{"repository:acme/app:pull", "repository:acme/app/b:push"}, 200, []string{"repository:acme/app:pull", "repository:acme/app/b:push"}},
		{"a list of scopes", "x", pat(w.jane, gitlab.API), []string{"repository:acme/app:pull repository:acme/app/b:push"}, 200, []string{"repository:acme/app:pull", "repository:acme/app/b:push"}},
		{"the catalog", "x", pat(w.jane, gitlab.API), []string{"registry:catalog:*"}, 200, []string{}},
		{"no ability", "x", pat(w.jane, gitlab.ReadUser), []string{all}, 403, nil},
		{"nobody", "", "", []string{"repository:acme/app:pull"}, 403, nil},
		{"nobody without a scope", "", "", nil, 403, nil},
		{"a wrong password", "jane", "x", nil, 401, nil},
		{"an empty password", "jane", "", nil, 401, nil},
	} {
		status, got := w.scopes(tc.user, tc.pass, tc.scopes...)
		if status != tc.status || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %d %q", tc.name, status, got)
		}
	}
	good := basic("x", pat(w.jane, gitlab.API))
	status, _, body := w.send("GET", jwtAuth, "", "Authorization", good)
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); status != 200 || err != nil || len(m) != 1 || m["token"] == nil {
		t.Errorf("more than a token: %d %v %v", status, m, err)
	}
	for _, tc := range []struct {
		method, url, auth string
		status            int
		body              string
	}{
		{"POST", jwtAuth, good, 404, ""},
		{"GET", "https://gitlab.com/jwt/auth?service=other", good, 404, ""},
		{"GET", jwtAuth, basic("", pat(w.jane, gitlab.API)), 401, `{"errors":[{"code":"UNAUTHORIZED"`},
		{"GET", jwtAuth, basic("x", "bad"), 401, `{"errors":[{"code":"UNAUTHORIZED","message":"HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect`},
		{"GET", jwtAuth, basic("x", pat(w.jane, gitlab.ReadUser)), 403, `{"errors":[{"code":"DENIED","message":"access forbidden"}]}`},
	} {
		status, _, body := w.send(tc.method, tc.url, "", "Authorization", tc.auth)
		if status != tc.status || !strings.HasPrefix(body, tc.body) || tc.body == "" && body != "" {
			t.Errorf("%s %s: %d %s", tc.method, tc.url, status, body)
		}
	}
	w.Set(func(o *gitlab.Options) { o.NoRegistry = true })
	if status, _, body := w.send("GET", jwtAuth, "", "Authorization", good); status != 404 || !strings.Contains(body, `"code":"UNAVAILABLE","message":"registry not enabled"`) {
		t.Errorf("%d %s", status, body)
	}
	w.Set(func(o *gitlab.Options) { o.NoRegistry = false })
	w.app.ProtectPush("acme/app/prod*", gitlab.Owner)
	status, _, body = w.send("GET", jwtAuth+"&scope=repository:acme/app/prod:pull,push", "", "Authorization", good)
	if status != 403 || !strings.Contains(body, "Pushing to protected repository path forbidden") {
		t.Errorf("%d %s", status, body)
	}
}

func TestTheRegistryTakesItsOwnTokensOnly(t *testing.T) {
	t.Parallel()
	w := start(t)
	const u = "https://registry.gitlab.com/v2/acme/app/web/manifests/latest"
	for _, tc := range []struct {
		name, method, auth, challenge string
		status                        int
	}{
		{"none", "GET", "", `Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",scope="repository:acme/app/web:pull"`, 401},
		{"none for a push", "PUT", "", `Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",scope="repository:acme/app/web:pull,push"`, 401},
		{"none for a delete", "DELETE", "", `scope="repository:acme/app/web:delete"`, 401},
		{"a PAT as a password", "GET", basic("jane", w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret), `service="container_registry"`, 401},
		{"an expired one", "GET", "Bearer " + w.Bearer(w.jane, "container_registry", -time.Minute, "repository:acme/app/web:pull"), `error="invalid_token"`, 401},
		{"for another service", "GET", "Bearer " + w.Bearer(w.jane, "dependency_proxy", time.Minute, "repository:acme/app/web:pull"), `error="invalid_token"`, 401},
		{"for another repository", "GET", "Bearer " + w.Bearer(w.jane, "container_registry", time.Minute, "repository:acme/app:pull"), `error="insufficient_scope"`, 401},
		{"without push", "PUT", "Bearer " + w.Bearer(w.jane, "container_registry", time.Minute, "repository:acme/app/web:pull"), `error="insufficient_scope"`, 401},
		{"a good one", "GET", "Bearer " + w.Bearer(w.jane, "container_registry", time.Minute, "repository:acme/app/web:pull"), "", 404},
		{"everything", "DELETE", "Bearer " + w.Bearer(w.jane, "container_registry", time.Minute, "repository:acme/app/web:*"), "", 400},
	} {
		var header []string
		if tc.auth != "" {
			header = []string{"Authorization", tc.auth}
		}
		status, h, body := w.send(tc.method, u, "", header...)
		if status != tc.status || !strings.Contains(h.Get("Www-Authenticate"), tc.challenge) || status == 401 && !strings.Contains(body, `"UNAUTHORIZED"`) {
			t.Errorf("%s: %d %q %s", tc.name, status, h.Get("Www-Authenticate"), body)
		}
	}
	// A bearer is over after 15 min at gitlab.com, in the middle of whatever.
	pat := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadRegistry}}).Secret
	_, _, body := w.send("GET", jwtAuth+"&scope=repository:acme/app/web:pull", "", "Authorization", basic("x", pat))
	bearer := "Bearer " + gitlab.TokenOf([]byte(body))
	w.c.Advance(14 * time.Minute)
	if status, _, _ := w.send("GET", u, "", "Authorization", bearer); status != 404 {
		t.Errorf("too short: %d", status)
	}
	w.c.Advance(2 * time.Minute)
	if status, h, _ := w.send("GET", u, "", "Authorization", bearer); status != 401 || !strings.Contains(h.Get("Www-Authenticate"), "invalid_token") {
		t.Errorf("too long: %d", status)
	}
}

func TestTagsAreDeletedByTheRegistryForThoseWhoMay(t *testing.T) {
	t.Parallel()
	w := start(t)
	api := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret
	job := w.app.Job(w.jane).Token
	for _, tag := range []string{"1", "2", "3"} {
		if err := w.push(image+":"+tag, "x", api); err != nil {
			t.Fatal(err)
		}
	}
	bearer := func(user, pass string) string {
		_, _, body := w.send("GET", jwtAuth+"&scope=repository:acme/app/web:pull,delete", "", "Authorization", basic(user, pass))
		return "Bearer " + gitlab.TokenOf([]byte(body))
	}
	const base = "https://registry.gitlab.com/v2/acme/app/web"
	rw := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadRegistry, gitlab.WriteRegistry}}).Secret
	if status, _, _ := w.send("DELETE", base+"/tags/reference/1", "", "Authorization", bearer("x", rw)); status != 401 {
		t.Errorf("registry scopes deleted: %d", status)
	}
	if status, _, body := w.send("DELETE", base+"/tags/reference/1", "", "Authorization", bearer(gitlab.JobUser, job)); status != 202 {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := w.send("DELETE", base+"/tags/reference/1", "", "Authorization", bearer("x", api)); status != 404 {
		t.Errorf("%d %s", status, body)
	}
	d, err := remote.Head(w.ref(image+":2"), w.options("x", api)...)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := w.send("DELETE", base+"/manifests/"+d.Digest.String(), "", "Authorization", bearer("x", api)); status != 202 {
		t.Errorf("%d %s", status, body)
	}
	if got := w.Tags("acme/app/web"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("%q", got)
	}
	wantStatus(t, w.pull(image+":1", "x", api), 404)
	wantStatus(t, w.pull(image+":2", "x", api), 404)
}

func TestSelfManagedInstancesHaveTheirOwnNames(t *testing.T) {
	t.Parallel()
	w := start(t)
	own := gitlab.New(w.c, gitlab.Options{Host: "gitlab.example.com"})
	app := own.Project("acme/app")
	app.Add(own.User("jane"), gitlab.Developer)
	pat := own.User("jane").Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadRegistry, gitlab.WriteRegistry}}).Secret
	if own.Registry() != "registry.example.com" {
		t.Errorf("%q", own.Registry())
	}
	if err := w.push("registry.example.com/acme/app", "x", pat); err != nil {
		t.Error(err)
	}
	wantStatus(t, w.push(image, "x", pat), 401)
	status, h, _ := w.send("GET", "https://registry.example.com/v2/", "")
	if status != 401 || h.Get("Www-Authenticate") != `Bearer realm="https://gitlab.example.com/jwt/auth",service="container_registry"` {
		t.Errorf("%d %q", status, h.Get("Www-Authenticate"))
	}
}

func TestClientsAreKeptAwayAfterTooManyFailures(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Set(func(o *gitlab.Options) { o.BanAfter = 3 })
	good := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret
	for range 2 {
		w.scopes("x", "bad")
	}
	if status, _ := w.scopes("x", good); status != 200 {
		t.Fatalf("%d", status)
	}
	for range 3 {
		w.scopes("x", "bad")
	}
	if status, _ := w.scopes("x", good); status != 403 {
		t.Errorf("not banned: %d", status)
	}
	if status, _ := w.scopes(gitlab.JobUser, w.app.Job(w.jane).Token); status != 200 {
		t.Errorf("jobs are banned: %d", status)
	}
	w.c.Advance(time.Hour)
	if status, _ := w.scopes("x", good); status != 200 {
		t.Errorf("banned for ever: %d", status)
	}
}
