// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// gitlabRig is a person whose network ends at a GitLab with the project
// acme/app, which jane maintains.
type gitlabRig struct {
	*world
	gl   *gitlab.GitLab
	jane *gitlab.User
	app  *gitlab.Project
}

func newGitLab(t *testing.T, o gitlab.Options) *gitlabRig {
	t.Helper()
	cloud := fakecloud.Start(t)
	gl := gitlab.New(cloud, o)
	r := &gitlabRig{world: newWorld(t, cloud), gl: gl, jane: gl.User("jane"), app: gl.Project("acme/app")}
	r.app.Add(r.jane, gitlab.Maintainer)
	return r
}

// account is the text of an account for the registry.
func (r *gitlabRig) account(lines ...string) string {
	return fmt.Sprintf("[[account]]\nname = \"work\"\nprovider = \"gitlab\"\nhosts = [%q, %q]\n", r.gl.Registry(), r.gl.Host()) + strings.Join(lines, "\n")
}

// secret is the line of an account's password in a file.
func (r *gitlabRig) secret(text string) string {
	return fmt.Sprintf("password = %q", "file:"+r.write("secret.txt", text))
}

func (r *gitlabRig) image() string { return r.gl.Registry() + "/acme/app:1" }

// did reports who did what at the registry.
func (r *gitlabRig) did(who, action string) bool {
	return slices.ContainsFunc(r.gl.Images.Done(), func(d fakecloud.Done) bool { return d.Who == who && d.Action == action })
}

// borrow puts a fake glab on the agent's PATH and logs it in.
func (r *gitlabRig) borrow() *gitlab.Glab {
	r.t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		r.t.Skip("no bash: apt-get install bash")
	}
	cli := r.gl.Glab(r.t)
	if err := os.MkdirAll(r.path("bin"), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Symlink(cli.Path, r.path("bin", "glab")); err != nil {
		r.t.Fatal(err)
	}
	return cli
}

func (r *gitlabRig) glabDir() string { return r.path(".config", "glab-cli") }

var registryScopes = []string{gitlab.ReadRegistry, gitlab.WriteRegistry}

func TestGitLabIdentitiesPushAndPull(t *testing.T) {
	for name, setUp := range map[string]func(r *gitlabRig) (account, who string, env []string){
		"a CI job, without an account": func(r *gitlabRig) (string, string, []string) {
			return "", "jane", r.app.Job(r.jane).Env()
		},
		"a personal access token": func(r *gitlabRig) (string, string, []string) {
			return r.account(r.secret(r.jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret)), "jane", nil
		},
		"a project access token": func(r *gitlabRig) (string, string, []string) {
			t := r.app.Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: registryScopes})
			return r.account(r.secret(t.Secret)), t.User.Username, nil
		},
		"a deploy token": func(r *gitlabRig) (string, string, []string) {
			d := r.app.DeployToken(gitlab.DeploySpec{Scopes: registryScopes})
			return r.account(fmt.Sprintf("username = %q", d.Username), r.secret(d.Secret)), d.Username, nil
		},
		"the deploy token of a job": func(r *gitlabRig) (string, string, []string) {
			d := r.app.DeployToken(gitlab.DeploySpec{Name: "gitlab-deploy-token", Scopes: registryScopes})
			return r.account(`identity = "deploy"`), d.Username, r.app.Job(r.jane).Env()
		},
		"the token of a job, by an account": func(r *gitlabRig) (string, string, []string) {
			return r.account(`identity = "job"`), "jane", r.app.Job(r.jane).Env()
		},
		"a group access token": func(r *gitlabRig) (string, string, []string) {
			t := r.gl.Group("acme").Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: registryScopes})
			return r.account(r.secret(t.Secret)), t.User.Username, nil
		},
		"the login of glab": func(r *gitlabRig) (string, string, []string) {
			r.borrow().LogIn(r.t, r.glabDir(), r.jane)
			return r.account("glab = true"), "jane", nil
		},
	} {
		for host, o := range map[string]gitlab.Options{
			"gitlab.com": {}, "self-managed": {Host: "git.corp.example", Registry: "images.corp.example"},
		} {
			t.Run(name+" at "+host, func(t *testing.T) {
				r := newGitLab(t, o)
				account, who, env := setUp(r)
				if account != "" {
					if o.Host != "" {
						account += fmt.Sprintf("\nurl = %q\n", "https://"+o.Host)
					}
					r.configure(account)
				}
				r.pushPull(r.image(), env...)
				if !r.did(who, "push") || !r.did(who, "pull") {
					t.Errorf("%s did not push and pull: %+v", who, r.gl.Images.Done())
				}
				w := r.with(append(r.craneEnv(), env...)...)
				if out := w.must("regmint", "run", "-q", "--", "crane", "ls", r.gl.Registry()+"/acme/app"); strings.TrimSpace(out) != "1" {
					t.Errorf("crane in a job lists %q", out)
				}
			})
		}
	}
}

func TestEightGitLabJobsAreEightIdentities(t *testing.T) {
	r := newGitLab(t, gitlab.Options{Host: "git.corp.example"})
	jobs := make([]*gitlab.Job, 8)
	var wg sync.WaitGroup
	for i := range jobs {
		user := r.gl.User(fmt.Sprintf("dev%d", i))
		r.app.Add(user, gitlab.Developer)
		jobs[i] = r.app.Job(user)
		wg.Go(func() {
			for range 3 {
				if a := r.get(r.gl.Registry(), jobs[i].Env()...); a.Secret != jobs[i].Token || a.Username != gitlab.JobUser {
					t.Errorf("job %d got %q %q %q", i, a.Username, a.Secret, a.failure)
				}
			}
		})
	}
	wg.Wait()
	for i, j := range jobs {
		if err := r.push(fmt.Sprintf("%s/acme/app/part%d:1", r.gl.Registry(), i), j.Env()...); err != nil {
			t.Error(err)
		}
		if !r.did(fmt.Sprintf("dev%d", i), "push") {
			t.Errorf("job %d did not push as itself", i)
		}
	}
}

// Rule 12.
func TestGitLabJobTokenGoesToNoOtherHost(t *testing.T) {
	r := newGitLab(t, gitlab.Options{Host: "git.corp.example", Registry: "images.corp.example"})
	gitlab.New(r.cloud, gitlab.Options{}) // gitlab.com is another instance
	env := r.app.Job(r.jane).Env()
	for _, host := range []string{
		"registry.gitlab.com", "gitlab.com", "corp.example", "registry.corp.example", "images.corp.example:5050", "git.corp.example:8443",
		"images.corp.example.attacker.example", "docker.io", "reg.example",
	} {
		if a := r.get(host, env...); !a.notFound {
			t.Errorf("%s got %+v", host, a)
		}
	}
	for _, host := range []string{"images.corp.example", "images.corp.example:443", "git.corp.example", "git.corp.example:443"} {
		if a := r.mustGet(host, env...); a.Username != gitlab.JobUser {
			t.Errorf("%s: %+v", host, a)
		}
		if a := r.get(host); !a.notFound {
			t.Errorf("%s outside of the job got %+v", host, a)
		}
	}
	// Variables that name a host of another product do not make it GitLab's.
	for _, host := range []string{"ghcr.io", "docker.io", "123456789012.dkr.ecr.eu-west-1.amazonaws.com"} {
		if a := r.get(host, append(env, "CI_REGISTRY="+host, "CI_DEPENDENCY_PROXY_SERVER="+host+":443")...); a.Secret != "" {
			t.Errorf("%s got %+v", host, a)
		}
	}
	for _, host := range r.cloud.Reached() { // a token without an end is verified now and then
		if host != "images.corp.example" && host != "git.corp.example" {
			t.Errorf("reached %q", host)
		}
	}
}

func TestGitLabLoginSavesATokenThatIsWatched(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	if x := r.regmint("login", "--no-wire", r.gl.Registry()); x.code == 0 || !strings.Contains(x.err, "https://gitlab.com/-/user_settings/personal_access_tokens?name=regmint&scopes=read_registry,write_registry") {
		t.Errorf("without a token: %s", x)
	}
	bad := r.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadUser}})
	if x := r.feed(bad.Secret, "regmint", "login", "--no-wire", "--provider", "gitlab", "-u", "jane", "--password-stdin", r.gl.Registry()); x.code == 0 || !strings.Contains(x.err, "read_registry") {
		t.Errorf("a token without a scope: %s", x)
	}
	pat := r.jane.Token(gitlab.TokenSpec{Scopes: registryScopes})
	x := r.feed(pat.Secret, "regmint", "login", "--no-wire", "--provider", "gitlab", "-u", "jane", "--password-stdin", r.gl.Registry())
	if x.code != 0 || !strings.Contains(x.err, "logged in to registry.gitlab.com") || !strings.Contains(x.err, "valid until") {
		t.Fatalf("%s", x)
	}
	r.pushPull(r.image())
}

func TestGitLabTokenRotatesAndWorksOn(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	pat := r.jane.Token(gitlab.TokenSpec{Name: "ci", Scopes: append([]string{gitlab.SelfRotate}, registryScopes...)})
	if x := r.feed(pat.Secret, "regmint", "login", "--no-wire", "--provider", "gitlab", "-u", "jane", "--password-stdin", r.gl.Registry()); x.code != 0 {
		t.Fatal(x)
	}
	r.pushPull(r.image())
	x := r.regmint("rotate", r.gl.Registry(), "--dry-run")
	if x.code != 0 || !strings.Contains(x.out+x.err, `"ci"`) || !strings.Contains(x.out+x.err, "at once") || !pat.Active() {
		t.Errorf("dry run: %s", x)
	}
	if x = r.regmint("rotate", r.gl.Registry()); x.code != 0 || pat.Active() || strings.Contains(x.out+x.err, "glpat-") {
		t.Fatalf("%s", x)
	}
	if a := r.mustGet(r.gl.Registry()); a.Secret == pat.Secret || !r.gl.Token(a.Secret).Active() {
		t.Error("a dead token is served")
	}
	r.pushPull(r.image())
	if n := r.gl.Counts(); n.Rotations != 1 || n.FamiliesKilled != 0 {
		t.Errorf("%+v", n)
	}
}

// A user name that GitLab does not look at says nothing to people.
func TestStatusNamesTheTokenThatGoesUnderAnyName(t *testing.T) {
	r := newGitLab(t, gitlab.Options{Host: "git.corp.example", Registry: "images.corp.example"})
	r.configure(r.account(r.secret(r.jane.Token(gitlab.TokenSpec{Name: "laptop", Scopes: registryScopes}).Secret), `url = "https://git.corp.example"`))
	r.mustGet(r.gl.Registry())
	if out := r.must("regmint", "status"); !strings.Contains(out, `access token "laptop"`) {
		t.Errorf("%s", out)
	}
}
