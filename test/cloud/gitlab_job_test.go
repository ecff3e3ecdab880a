// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

// maker is an account that makes a project access token for each job.
func (r *gitlabRig) maker(lines ...string) {
	pat := r.jane.Token(gitlab.TokenSpec{Name: "maker", Scopes: []string{gitlab.API}})
	r.configure(r.account(append([]string{r.secret(pat.Secret), `project = "acme/app"`}, lines...)...))
}

// living are the tokens made for jobs that work now.
func (r *gitlabRig) living() []*gitlab.Token {
	var out []*gitlab.Token
	for _, t := range r.gl.Tokens() {
		if strings.HasPrefix(t.Name, "regmint-") {
			out = append(out, t)
		}
	}
	return out
}

func TestGitLabTokenOfAJobIsNarrowedAndEndsWithIt(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	r.maker()
	r.pushPull(r.image()) // outside of jobs: the account's own token
	if n := len(r.living()); n != 0 {
		t.Fatalf("%d tokens without a job", n)
	}
	w := r.with(r.craneEnv()...)
	target := r.gl.Registry() + "/acme/app"
	out := w.must("regmint", "run", "-q", "-r", target+"=pull", "--", "sh", "-c", "crane digest "+r.image()+" && printf %s "+r.gl.Registry()+" | docker-credential-regmint get")
	secret := out[strings.Index(out, "glpat-"):]
	secret = secret[:strings.IndexByte(secret, '"')]
	token := r.gl.Token(secret)
	if token == nil || !slices.Equal(token.Scopes, []string{gitlab.ReadRegistry}) || !strings.HasPrefix(token.Name, "regmint-") {
		t.Fatalf("%+v", token)
	}
	r.eventually("the token of the job is revoked", func() bool { return len(r.living()) == 0 && !token.Active() })
	if x := w.run("regmint", "run", "-q", "-r", target+"=pull", "--", "crane", "copy", r.image(), r.gl.Registry()+"/acme/app/two:1"); x.code == 0 {
		t.Error("a job for pull pushed")
	}
	if x := w.run("regmint", "run", "-q", "-r", target+"=push", "--", "crane", "copy", r.image(), r.gl.Registry()+"/acme/app/two:1"); x.code != 0 {
		t.Errorf("a job for push: %s", x)
	}
	r.eventually("all tokens of jobs are revoked", func() bool { return len(r.living()) == 0 })
	if x := w.run("regmint", "run", "-q", "-r", r.gl.Registry()+"/other/app=pull", "--", "docker-credential-regmint", "get"); strings.Contains(x.out, "glpat-") {
		t.Errorf("a repository outside of the project: %s", x)
	}
}

// api calls GitLab's API with a header.
func (r *gitlabRig) api(method, path, header, value string) (status int, body []byte) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+r.gl.Host()+"/api/v4"+path, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set(header, value)
	res, err := r.cloud.Client().Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err = io.ReadAll(res.Body); err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, body
}

// cleans pushes acme/app:1 and deletes its tag by the API with a token.
func (r *gitlabRig) cleans(header, token string) error {
	r.t.Helper()
	job := r.app.Job(r.jane)
	if err := r.pushAs(r.image(), gitlab.JobUser, job.Token); err != nil {
		return err
	}
	path := "/projects/" + url.PathEscape("acme/app") + "/registry/repositories"
	status, body := r.api(http.MethodGet, path, header, token)
	var list []struct {
		ID   int    `json:"id"`
		Path string `json:"path"`
	}
	if err := json.Unmarshal(body, &list); status != http.StatusOK || err != nil || len(list) != 1 {
		return fmt.Errorf("list: %d %s", status, body)
	}
	if status, body = r.api(http.MethodDelete, fmt.Sprintf("%s/%d/tags/1", path, list[0].ID), header, token); status != http.StatusOK || len(r.gl.Tags("acme/app")) != 0 {
		return fmt.Errorf("delete: %d %s, left %v", status, body, r.gl.Tags("acme/app"))
	}
	return nil
}

func TestGitLabNativeTokensCleanUp(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	target := r.gl.Registry() + "/acme/app=delete"
	native := func(w *world) string {
		return strings.TrimSpace(w.must("regmint", "get", target, "--native", "--format", "bare"))
	}
	r.configure(r.account(r.secret(r.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}}).Secret)))
	if err := r.cleans("PRIVATE-TOKEN", native(r.world)); err != nil {
		t.Errorf("a personal token: %v", err)
	}
	r.borrow().LogIn(t, r.glabDir(), r.jane)
	r.configure(r.account("glab = true"))
	if err := r.cleans("Authorization", "Bearer "+native(r.world)); err != nil {
		t.Errorf("the login of glab: %v", err)
	}
	r.configure()
	job := r.with(r.app.Job(r.jane).Env()...)
	if err := r.cleans("JOB-TOKEN", native(job)); err != nil {
		t.Errorf("the job's token: %v", err)
	}
	if x := job.run("regmint", "get", r.gl.Registry()+"/acme/other=delete", "--native"); x.code != 7 || !strings.Contains(x.err, "own project") {
		t.Errorf("another project with the job's token: %s", x)
	}
	r.configure(r.account(r.secret(r.jane.Token(gitlab.TokenSpec{Scopes: registryScopes}).Secret)))
	before := r.cloud.Count(func(q fakecloud.Request) bool { return strings.Contains(q.Path, "/registry/") })
	if x := r.regmint("get", target, "--native"); x.code != 7 || !strings.Contains(x.err, "scope api") || !strings.Contains(x.err, "read_registry") {
		t.Errorf("without the scope: %s", x)
	}
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return strings.Contains(q.Path, "/registry/") }); n != before {
		t.Error("GitLab was asked to clean up")
	}
}

// Clients such as werf delete at the registry, with what docker's configuration
// has: a token with api, or the job's token in its own project.
func TestGitLabImagesAreDeletedByThoseWhoMay(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	env := r.app.Job(r.jane).Env()
	for name, tt := range map[string]struct {
		scopes []string // of a personal token; nil: the job's
		may    bool
	}{"a token with api": {[]string{gitlab.API}, true}, "a token for the registry": {registryScopes, false}, "a job": {nil, true}} {
		var own []string
		r.configure()
		if tt.scopes != nil {
			r.configure(r.account(r.secret(r.jane.Token(gitlab.TokenSpec{Scopes: tt.scopes}).Secret)))
		} else {
			own = env
		}
		if err := r.push(r.image(), env...); err != nil {
			t.Fatal(err)
		}
		img, err := remote.Head(r.ref(r.image()), r.options(own...)...)
		if err != nil {
			t.Fatal(err)
		}
		err = remote.Delete(r.ref(r.gl.Registry()+"/acme/app@"+img.Digest.String()), r.options(own...)...)
		if (err == nil) != tt.may || !tt.may && status(err) != http.StatusUnauthorized {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// In a job that gets tokens of its own, so is the one for GitLab's API.
func TestGitLabNativeTokenOfAJobEndsWithIt(t *testing.T) {
	r := newGitLab(t, gitlab.Options{})
	r.maker()
	target := r.gl.Registry() + "/acme/app=delete"
	secret := strings.TrimSpace(r.must("regmint", "run", "-q", "--", "regmint", "get", target, "--native", "--format", "bare"))
	token := r.gl.Token(secret)
	if token == nil || token.Kind != gitlab.ProjectToken || !slices.Equal(token.Scopes, []string{gitlab.API}) || !strings.HasPrefix(token.Name, "regmint-") {
		t.Fatalf("%+v", token)
	}
	r.eventually("the token is revoked", func() bool { return !token.Active() && len(r.living()) == 0 })
	if secret = strings.TrimSpace(r.must("regmint", "get", target, "--native", "--format", "bare")); r.gl.Token(secret).Kind != gitlab.PersonalToken {
		t.Errorf("outside of a job: %+v", r.gl.Token(secret))
	}
}

// The journal outlives the agent that wrote it, and names find what it lost.
func TestGitLabTokensOfAKilledJobAreSwept(t *testing.T) {
	for name, tt := range map[string]struct {
		agent  bool // is killed too
		lost   bool // the answer to the making of a token
		native bool // the token is for the API
	}{
		"the wrapper": {}, "the wrapper and the agent": {agent: true}, "with an answer lost": {agent: true, lost: true},
		"with a token for the API": {agent: true, native: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newGitLab(t, gitlab.Options{})
			r.maker()
			if tt.lost {
				r.gl.Lose(gitlab.CreateToken, 1)
			}
			ask := "printf %s " + r.gl.Registry() + " | docker-credential-regmint get >/dev/null"
			if tt.native {
				ask = "regmint get " + r.gl.Registry() + "/acme/app=pull --native >/dev/null"
			}
			cmd := exec.Command(r.find("regmint"), "run", "-q", "-r", r.gl.Registry()+"/acme/app=pull", "--", "sh", "-c", ask+"; touch "+r.path("asked")+"; exec sleep 600")
			cmd.Env, cmd.Dir, cmd.SysProcAttr = r.environ(), r.home, &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := sync.OnceFunc(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
			defer kill()
			r.eventually("the job has asked", func() bool { _, err := os.Stat(r.path("asked")); return err == nil })
			if n := len(r.living()); n != 1 {
				t.Fatalf("%d tokens of the job", n)
			}
			if tt.agent {
				// Else the wrapper sees its agent go and starts the next one.
				if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				var st struct {
					PID int `json:"pid"`
				}
				if err := json.Unmarshal([]byte(r.must("regmint", "status", "--format", "json")), &st); err != nil || st.PID < 2 {
					t.Fatalf("pid %d, %v", st.PID, err)
				}
				if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			kill()
			if tt.agent {
				r.must("regmint", "agent", "start")
			}
			r.eventually("the token is gone", func() bool { return len(r.living()) == 0 })
		})
	}
}
