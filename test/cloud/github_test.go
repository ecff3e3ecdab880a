// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/github"
)

const (
	ghcr    = "ghcr.io"
	ghcrApp = ghcr + "/acme/app"
)

// githubRig is a person whose network ends at a fake GitHub.
type githubRig struct {
	*world
	gh   *github.GitHub
	jane *github.User
}

func newGitHub(t *testing.T, o github.Options) *githubRig {
	t.Helper()
	cloud := fakecloud.Start(t)
	g := github.New(cloud, o)
	r := &githubRig{newWorld(t, cloud), g, g.User("jane")}
	g.Org("acme").Add(r.jane)
	return r
}

// githubAccount is the text of an account for ghcr.io.
func githubAccount(lines ...string) string {
	return "[[account]]\nname = \"work\"\nprovider = \"github\"\nhosts = [\"ghcr.io\"]\n" + strings.Join(lines, "\n")
}

// secret is the line of an account's secret in a file.
func (r *githubRig) secret(key, text string) string {
	return fmt.Sprintf("%s = %q", key, "file:"+r.write(key+".txt", text))
}

// approve enters the next code that somebody is shown.
func (r *githubRig) approve() {
	done := entersCode(r.t, r.gh.Codes, func(code string) bool { return r.gh.Approve(code, r.jane) })
	r.t.Cleanup(func() { <-done })
}

// logIn logs in on a terminal with a code.
func (r *githubRig) logIn() {
	r.t.Helper()
	r.approve()
	x := r.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", ghcr)
	if x.code != 0 || !strings.Contains(x.out, "https://github.com/login/device") || !strings.Contains(x.out, "logged in to ghcr.io as jane") {
		r.t.Fatalf("%s", x)
	}
}

// did reports who did what at the registry.
func (r *githubRig) did(who, action string) bool {
	return slices.ContainsFunc(r.gh.Images.Done(), func(d fakecloud.Done) bool { return d.Who == who && d.Action == action })
}

func TestGitHubIdentitiesPushAndPull(t *testing.T) {
	t.Parallel()
	for name, setUp := range map[string]func(r *githubRig) (account, who string, env []string){
		"a classic token in a file": func(r *githubRig) (string, string, []string) {
			return githubAccount(r.secret("password", r.jane.Classic(github.WritePackages).Secret)), "jane", nil
		},
		"a classic token in a variable": func(r *githubRig) (string, string, []string) {
			return githubAccount(`password = "env:GHCR"`), "jane", []string{"GHCR=" + r.jane.Classic(github.WritePackages).Secret}
		},
		"a job of Actions, without an account": func(r *githubRig) (string, string, []string) {
			return "", "actions acme/app", r.gh.Job("acme/app", r.jane, github.Write).Env()
		},
		"the login of gh": func(r *githubRig) (string, string, []string) {
			r.borrow().LogIn(r.jane, github.WritePackages)
			return githubAccount("gh = true"), "jane", nil
		},
		"an App, where the registry lets it": func(r *githubRig) (string, string, []string) {
			r.gh.Set(func(o *github.Options) { o.InstallationsPull = true })
			a := r.gh.App("minter")
			a.Install("acme", github.Write)
			return githubAccount(fmt.Sprintf("app_id = %q", strconv.Itoa(a.ID)), r.secret("private_key", a.Key)), "app minter", nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newGitHub(t, github.Options{})
			account, who, env := setUp(r)
			if account != "" {
				r.configure(account)
			}
			r.pushPull(ghcrApp+":1", env...)
			if !r.did(who, "push") || !r.did(who, "pull") {
				t.Errorf("%s did not push and pull: %+v", who, r.gh.Images.Done())
			}
			w := r.with(append(r.craneEnv(), env...)...)
			if out := w.must("regmint", "run", "-q", "--", "crane", "ls", ghcrApp); strings.TrimSpace(out) != "1" {
				t.Errorf("crane in a job lists %q", out)
			}
		})
	}
}

func TestGitHubsServersAreServedUnderTheirOwnNames(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"github.corp.example", "octo.ghe.com"} {
		r := newGitHub(t, github.Options{Host: host})
		r.configure(fmt.Sprintf("[[account]]\nname = \"work\"\nprovider = \"github\"\nhosts = [%q]\n%s", r.gh.Registry(), r.secret("password", r.jane.Classic(github.WritePackages).Secret)))
		r.pushPull(r.gh.Registry() + "/acme/app:1")
		if reached := r.cloud.Reached(); slices.Contains(reached, "api.github.com") || slices.Contains(reached, ghcr) {
			t.Errorf("%s: reached %q", host, reached)
		}
	}
}

func TestAJobsTokenIsForItsOwnRegistryAndForNobodyElse(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	job := r.gh.Job("acme/app", r.jane, github.Write)
	if a := r.mustGet(ghcr, job.Env()...); a.Username != "jane" || a.Secret != job.Token.Secret {
		t.Errorf("%+v", a)
	}
	for name, env := range map[string][]string{
		"another terminal": nil,
		"not in a job":     {"GITHUB_TOKEN=" + job.Token.Secret},
		"another server's": append(job.Env(), "GITHUB_SERVER_URL=https://github.corp.example"),
	} {
		if a := r.get(ghcr, env...); !a.notFound {
			t.Errorf("%s: %+v", name, a)
		}
	}
	second := r.gh.Job("acme/other", r.jane, github.Read)
	if a := r.mustGet(ghcr, second.Env()...); a.Secret != second.Token.Secret {
		t.Error("two jobs of one user have a token each")
	}
	if a := r.get("docker.pkg.github.com"); !strings.Contains(a.failure, "ghcr.io") {
		t.Errorf("%+v", a)
	}
}

// clean lists the versions of a package and deletes one, as werf's clean-up does.
func (r *githubRig) clean(secret, tag string) int {
	r.t.Helper()
	call := func(method, path string) (int, []byte) {
		q, err := http.NewRequest(method, "https://api.github.com/orgs/acme/packages/container/app/versions"+path, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+secret)
		res, err := r.cloud.Client().Do(q)
		if err != nil {
			r.t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		return res.StatusCode, b
	}
	code, body := call("GET", "?page=1&per_page=100")
	var list []struct {
		ID       int
		Metadata struct{ Container struct{ Tags []string } }
	}
	if code != http.StatusOK {
		return code
	}
	if err := json.Unmarshal(body, &list); err != nil {
		r.t.Fatal(err)
	}
	for _, v := range list {
		if slices.Contains(v.Metadata.Container.Tags, tag) {
			code, _ = call("DELETE", "/"+strconv.Itoa(v.ID))
			return code
		}
	}
	r.t.Fatalf("no version %s in %s", tag, body)
	return 0
}

func TestCleanUpTokensOfGitHubDeleteAndOthersAreRefusedByUs(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	full := githubAccount(r.secret("password", r.jane.Classic(github.WritePackages, github.DeletePackages).Secret))
	r.configure(full)
	for _, tag := range []string{"1", "2", "3", "4"} {
		if err := r.push(ghcrApp + ":" + tag); err != nil {
			t.Fatal(err)
		}
	}
	got := r.jsonGet(ghcrApp+"=delete", "--native")
	secret, _ := got["secret"].(string)
	if code := r.clean(secret, "1"); code != http.StatusNoContent {
		t.Errorf("the clean-up answers %d (%d keys)", code, len(got))
	}
	env := r.must("regmint", "get", ghcrApp+"=delete", "--native", "--format", "env")
	if !strings.Contains(env, "GH_TOKEN=") || !strings.Contains(env, "WERF_REPO_GITHUB_TOKEN=") {
		t.Errorf("no variables of gh and werf")
	}
	poor := r.jane.Classic(github.WritePackages)
	r.configure(githubAccount(r.secret("password", poor.Secret)))
	before := r.cloud.Count(func(q fakecloud.Request) bool { return strings.Contains(q.Path, "/packages/") })
	if x := r.regmint("get", ghcrApp+"=delete", "--native"); x.code != 7 || !strings.Contains(x.err, "delete:packages") || x.out != "" {
		t.Errorf("without the scope: %s", x)
	}
	if after := r.cloud.Count(func(q fakecloud.Request) bool { return strings.Contains(q.Path, "/packages/") }); after != before {
		t.Error("the refusal is ours, not the API's")
	}
	if code := r.clean(poor.Secret, "2"); code != http.StatusForbidden {
		t.Errorf("the fake takes such a token: %d", code)
	}
	r.configure()
	job := r.gh.Job("acme/app", r.jane, github.Write)
	for _, level := range []github.Level{github.Write, github.Admin} {
		want := map[github.Level]int{github.Write: http.StatusForbidden, github.Admin: http.StatusNoContent}[level]
		r.gh.Package("acme/app").Link("acme/app", level)
		env = r.with(job.Env()...).must("regmint", "get", ghcrApp+"=delete", "--native", "--format", "env")
		if code := r.clean(job.Token.Secret, "2"); !strings.Contains(env, "GH_TOKEN='"+job.Token.Secret+"'") || code != want {
			t.Errorf("a workflow of the role %s: %d", level, code)
		}
	}
	a := r.gh.App("minter")
	a.Install("acme", github.Write)
	r.configure(githubAccount(fmt.Sprintf("client_id = %q", a.ClientID), r.secret("private_key", a.Key)))
	got = r.jsonGet(ghcrApp+"=delete", "--native")
	secret, _ = got["secret"].(string)
	if code := r.clean(secret, "3"); code != http.StatusNoContent {
		t.Errorf("an App's clean-up answers %d", code)
	}
}
