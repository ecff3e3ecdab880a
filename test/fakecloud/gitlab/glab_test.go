// SPDX-License-Identifier: Apache-2.0

//go:build unix

package gitlab_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

type glab struct {
	*testing.T
	*gitlab.Glab
	dir string
	env []string
}

func (g glab) run(stdin string, args ...string) (out, problems string, code int) {
	g.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		g.Skip("the fake glab needs bash: apt-get install bash")
	}
	cmd := exec.CommandContext(g.Context(), g.Path, args...)
	cmd.Env = append([]string{"GLAB_CONFIG_DIR=" + g.dir}, g.env...)
	cmd.Stdin = strings.NewReader(stdin)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.Fatal(err)
	}
	return strings.TrimSpace(o.String()), e.String(), cmd.ProcessState.ExitCode()
}

func TestGlabTellsItsTokenWhereItIsLoggedIn(t *testing.T) {
	t.Parallel()
	w := start(t)
	g := glab{T: t, Glab: w.Glab(t), dir: t.TempDir()}
	out, problems, code := g.run("", "auth", "status")
	if code != 1 || out != "" || !strings.Contains(problems, "No GitLab instances have been authenticated with glab") {
		t.Errorf("%d %q %q", code, out, problems)
	}
	if out, problems, code = g.run("", "config", "get", "token", "--host", "gitlab.com"); code != 0 || out != "" || problems != "" {
		t.Errorf("%d %q %q", code, out, problems)
	}
	pat := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}})
	g.LogInToken(t, g.dir, pat)
	if out, _, code = g.run("", "config", "get", "token", "--host", "gitlab.com"); code != 0 || out != pat.Secret {
		t.Errorf("%d %q", code, out)
	}
	if out, _, _ = g.run("", "config", "get", "user", "--host=gitlab.com"); out != "jane" {
		t.Errorf("%q", out)
	}
	out, problems, code = g.run("", "auth", "status", "--hostname", "gitlab.com")
	if code != 0 || out != "" || !strings.Contains(problems, "✓ Logged in to gitlab.com as jane (") || strings.Contains(problems, pat.Secret) {
		t.Errorf("%d %q %q", code, out, problems)
	}
	if _, problems, _ = g.run("", "auth", "status", "--show-token"); !strings.Contains(problems, pat.Secret) {
		t.Errorf("%q", problems)
	}
	_, problems, code = g.run("", "auth", "status", "--hostname", "gitlab.example.com")
	if code != 1 || !strings.Contains(problems, "gitlab.example.com has not been authenticated with glab. Run `glab auth login --hostname gitlab.example.com`") {
		t.Errorf("%d %q", code, problems)
	}
	pat.Revoke()
	if _, problems, code = g.run("", "auth", "status"); code != 1 || !strings.Contains(problems, "401") {
		t.Errorf("%d %q", code, problems)
	}
	env := g
	env.env = []string{"GITLAB_TOKEN=from-env"}
	if out, _, _ = env.run("", "config", "get", "token", "--host", "gitlab.com"); out != "from-env" {
		t.Errorf("%q", out)
	}
	g.LogOut(t, g.dir)
	if out, _, _ = g.run("", "config", "get", "token", "--host", "gitlab.com"); out != "" {
		t.Errorf("%q", out)
	}
	g.Notice("A new version of glab has been released")
	if out, problems, code = g.run("", "version"); code != 0 || !strings.HasPrefix(out, "glab 1.") || !strings.Contains(problems, "new version") {
		t.Errorf("%d %q %q", code, out, problems)
	}
	g.Break("keyring: the collection is locked")
	if _, problems, code = g.run("", "version"); code != 1 || !strings.Contains(problems, "locked") {
		t.Errorf("%d %q", code, problems)
	}
	if calls := g.Calls(); len(calls) != 12 || calls[0][1] != "status" {
		t.Errorf("%q", calls)
	}
}

func TestGlabIsADockerHelperThatRefreshes(t *testing.T) {
	t.Parallel()
	w := start(t)
	g := glab{T: t, Glab: w.Glab(t), dir: t.TempDir()}
	get := func(server string) (string, int) {
		out, _, code := g.run(server+"\n", "auth", "docker-helper", "get")
		return out, code
	}
	if out, code := get("registry.gitlab.com"); code != 1 || out != "no hostname associated with registryURL: registry.gitlab.com" {
		t.Errorf("%d %q", code, out)
	}
	pair := g.LogIn(t, g.dir, w.jane)
	g.env = []string{"GITLAB_TOKEN=from-env"} // has no say here
	out, code := get("registry.gitlab.com")
	var m struct{ ServerURL, Username, Secret string }
	if err := json.Unmarshal([]byte(out), &m); err != nil || code != 0 || m.Username != "jane" || m.Secret != pair.Access || m.ServerURL != "registry.gitlab.com" {
		t.Errorf("%d %q", code, out)
	}
	if got := w.can(image, m.Username, m.Secret); got != "pull push" {
		t.Errorf("%q", got)
	}
	w.c.Advance(2 * time.Hour)
	out, _ = get("registry.gitlab.com")
	if err := json.Unmarshal([]byte(out), &m); err != nil || m.Secret == pair.Access || w.Counts().Refreshes != 1 {
		t.Errorf("%q", out)
	}
	g.env = nil
	if out, _, _ := g.run("", "config", "get", "token", "--host", "gitlab.com"); out != m.Secret {
		t.Errorf("the new token was not written down: %q", out)
	}
	for action, want := range map[string]string{"store": "manual registry logins", "erase": "manual registry logouts"} {
		if out, _, code := g.run(`{"ServerURL":"registry.gitlab.com","Username":"a","Secret":"b"}`+"\n", "auth", "docker-helper", action); code != 1 || !strings.Contains(out, want) {
			t.Errorf("%d %q", code, out)
		}
	}
	w.c.Advance(2 * time.Hour)
	w.jane.Block(true)
	if out, code := get("registry.gitlab.com"); code != 1 || !strings.Contains(out, "invalid_grant") {
		t.Errorf("%d %q", code, out)
	}
	if _, problems, code := g.run("", "auth", "status"); code != 1 || !strings.Contains(problems, "invalid_grant") {
		t.Errorf("%d %q", code, problems)
	}
}

func TestGlabIsACredentialHelperOfItsHosts(t *testing.T) {
	t.Parallel()
	w := start(t)
	g := glab{T: t, Glab: w.Glab(t), dir: t.TempDir(), env: []string{"GITLAB_HOST=gitlab.com", "GLAB_CREDENTIAL_HELPER_SKIP_WRAPPER=1"}}
	type answer struct {
		Type, Message string
		Instance      string `json:"instance_url"`
		Token         struct {
			Type, Token string
			Expires     time.Time `json:"expiry_timestamp"`
		}
	}
	ask := func(g glab) (a answer) {
		t.Helper()
		out, problems, code := g.run("", "auth", "credential-helper")
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 || problems != "" {
			t.Fatalf("%d %q %q", code, out, problems)
		}
		return a
	}
	if a := ask(g); a.Type != "error" || !strings.Contains(a.Message, "glab auth login") {
		t.Errorf("%+v", a)
	}
	pair := g.LogIn(t, g.dir, w.jane)
	if a := ask(g); a.Type != "success" || a.Instance != "https://gitlab.com" || a.Token.Type != "oauth2" || a.Token.Token != pair.Access || pair.Expires.Sub(a.Token.Expires) >= time.Minute {
		t.Errorf("%+v", a)
	}
	w.c.Advance(116 * time.Minute) // less than 5 are left
	fresh := ask(g)
	if fresh.Token.Token == pair.Access || w.Counts().Refreshes != 1 || fresh.Token.Expires.Sub(w.c.Now()) < 118*time.Minute {
		t.Errorf("%+v", fresh)
	}
	w.jane.Block(true)
	w.c.Advance(2 * time.Hour)
	if a := ask(g); a.Type != "error" || !strings.Contains(a.Message, "failed to refresh token") {
		t.Errorf("%+v", a)
	}
	w.jane.Block(false)
	other := g
	other.env = []string{"GITLAB_HOST=gitlab.example.com"}
	if a := ask(other); a.Type != "error" {
		t.Errorf("%+v", a)
	}
	pat := w.jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.API}})
	g.LogInToken(t, g.dir, pat)
	if a := ask(g); a.Token.Type != "pat" || a.Token.Token != pat.Secret || !a.Token.Expires.IsZero() {
		t.Errorf("%+v", a)
	}
	job := w.app.Job(w.jane)
	g.LogInJob(t, g.dir, job)
	if a := ask(g); a.Token.Type != "job-token" || a.Token.Token != job.Token {
		t.Errorf("%+v", a)
	}
	g.Old(true)
	if out, _, code := g.run("", "auth", "credential-helper"); code != 0 || !strings.HasPrefix(out, "Manage glab") {
		t.Errorf("%d %q", code, out)
	}
	g.Old(false)
	other.env = []string{"GITLAB_TOKEN=from-env"}
	if a := ask(other); a.Token.Type != "pat" || a.Token.Token != "from-env" {
		t.Errorf("%+v", a)
	}
}
