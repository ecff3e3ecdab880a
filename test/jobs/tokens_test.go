// SPDX-License-Identifier: Apache-2.0

//go:build unix

package jobs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// buildkiteAgent is Buildkite's program as a job has it: it knows its job by the
// environment, and will not answer where it should hide the token from a log.
const buildkiteAgent = `#!/bin/sh
[ "$1 $2 $3" = "oidc request-token --audience=fakeregistry" ] || { echo "fatal: flags: $*" >&2; exit 1; }
[ "$BUILDKITE_AGENT_ACCESS_TOKEN" = "agent-of-$BUILDKITE_JOB_ID" ] || { echo "fatal: 401 Unauthorized" >&2; exit 1; }
[ -n "$BUILDKITE_AGENT_OIDC_REQUEST_TOKEN_SKIP_TOKEN_REDACTION" ] || { echo "fatal: no Job API" >&2; exit 1; }
[ -z "$BUILDKITE_AGENT_ENDPOINT$OTHER_SECRET" ] || { echo "fatal: the caller's variables are here" >&2; exit 1; }
echo >>"$HOME/asked"
cat "$HOME/token-$BUILDKITE_JOB_ID"
`

// tokenWorld has a registry for each account; identities are job-0 and job-1.
func tokenWorld(t *testing.T, accounts ...string) (w *world, regs []*fakeregistry.Server) {
	t.Helper()
	w = newWorld(t, time.Hour)
	text := "[agent]\nstore = \"file\"\n"
	for i, account := range accounts {
		reg, err := fakeregistry.Start(fakeregistry.Options{Issue: fakeregistry.IssueOptions{Clients: []fakeregistry.Client{
			{ID: "a", Subject: "project:0", User: "job-0"}, {ID: "b", Subject: "project:1", User: "job-1"},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = reg.Close() })
		regs = append(regs, reg)
		text += fmt.Sprintf("\n[[account]]\nname = \"a%d\"\nprovider = \"http-exchange\"\nhosts = [%q]\nurl = %q\n%s\n", i, reg.Host(), reg.IssueURL(), account) +
			"form = { grant_type = \"urn:ietf:params:oauth:grant-type:jwt-bearer\", assertion = \"{{.IdentityToken}}\" }\n" +
			"username_path = \"username\"\npassword_path = \"password\"\nexpires_in_path = \"expires_in\"\n"
	}
	w.write(".config/regmint/config.toml", text)
	return w, regs
}

// program writes an executable.
func (w *world) program(name, text string) string {
	w.t.Helper()
	w.write(name, text)
	path := filepath.Join(w.home, name)
	if err := os.Chmod(path, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// assertion writes an identity token of project:n for a registry to a file.
func (w *world) assertion(reg *fakeregistry.Server, name string, n int) {
	w.t.Helper()
	token, err := reg.SignAssertion(fmt.Sprint("project:", n), time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(name, token+"\n")
}

// who asks the helper who a caller with these variables is.
func (w *world) who(reg *fakeregistry.Server, env ...string) (user, said string) {
	w.t.Helper()
	cmd := w.command("docker-credential-regmint", "get")
	cmd.Env = append(cmd.Env, "PATH="+w.home+"/tools:"+bin+":/usr/bin:/bin")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin = strings.NewReader(reg.Host())
	out, err := cmd.Output()
	var c struct{ Username string }
	if err != nil || json.Unmarshal(out, &c) != nil {
		return "", string(out)
	}
	return c.Username, string(out)
}

func TestBuildkiteJobsAreWhoTheirOwnVariablesSay(t *testing.T) {
	w, regs := tokenWorld(t, `identity_token = "buildkite"`+"\naudience = \"fakeregistry\"")
	w.program("tools/buildkite-agent", buildkiteAgent)
	job := func(n int) []string {
		return []string{
			fmt.Sprint("BUILDKITE_JOB_ID=", n), fmt.Sprint("BUILDKITE_AGENT_ACCESS_TOKEN=agent-of-", n),
			"BUILDKITE_AGENT_ENDPOINT=https://evil.example/v3", "OTHER_SECRET=x",
		}
	}
	for n := range 2 {
		w.assertion(regs[0], fmt.Sprint("token-", n), n)
	}
	for range 2 {
		for n := range 2 {
			if user, said := w.who(regs[0], job(n)...); user != fmt.Sprint("job-", n) {
				t.Errorf("job %d: %s", n, said)
			}
		}
	}
	if asked := strings.Count(w.read("asked"), "\n"); asked != 2 {
		t.Errorf("%d tokens were asked for, want one a job", asked)
	}
	if user, said := w.who(regs[0], "BUILDKITE_JOB_ID=1", "BUILDKITE_AGENT_ACCESS_TOKEN=agent-of-2"); user != "" || !strings.Contains(said, "401 Unauthorized") {
		t.Errorf("another job's token: %s", said)
	}
	if user, said := w.who(regs[0]); user != "" || !strings.Contains(said, "BUILDKITE_AGENT_ACCESS_TOKEN") || !strings.Contains(said, "run it inside a Buildkite job") {
		t.Errorf("outside of jobs: %s", said)
	}
}

func TestAProgramWithArgumentsMakesAnIdentityTokenForEachCredential(t *testing.T) {
	w, regs := tokenWorld(t, "")
	path := w.program("make token", "#!/bin/sh\n[ \"$1\" = '--for' ] && [ \"$2\" = 'a registry; $HOME' ] && [ $# = 2 ] || exit 3\necho >>\"$HOME/asked\"\ncat \"$HOME/token\"\n")
	text := w.read(".config/regmint/config.toml")
	w.write(".config/regmint/config.toml", strings.Replace(text, "\nform =", fmt.Sprintf("\nidentity_token = { exec = [%q, \"--for\", 'a registry; $HOME'] }\nform =", path), 1))
	rotates(t, w, regs[0], "token")
	if asked := strings.Count(w.read("asked"), "\n"); asked != 2 {
		t.Errorf("%d tokens were asked for", asked)
	}
	// A job that brings the account along has it run by its wrapper.
	w.write("job.toml", w.read(".config/regmint/config.toml")[len("[agent]\nstore = \"file\"\n"):])
	w.write(".config/regmint/config.toml", "[agent]\nstore = \"file\"\n")
	if code, out, errs := w.run("", "regmint", "run", "-q", "--config", "job.toml", "--", "sh", "-c", "printf %s "+regs[0].Host()+" | docker-credential-regmint get"); code != 0 || !strings.Contains(out, `"job-1"`) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestAProjectedTokenIsReadAgainForEachCredential(t *testing.T) {
	w, regs := tokenWorld(t, "")
	text := w.read(".config/regmint/config.toml")
	w.write(".config/regmint/config.toml", strings.Replace(text, "\nform =", fmt.Sprintf("\nidentity_token = \"kubernetes:%s/pod/token\"\nform =", w.home), 1))
	rotates(t, w, regs[0], "pod/token")
}

// rotates puts another token into a file between two credentials.
func rotates(t *testing.T, w *world, reg *fakeregistry.Server, file string) {
	t.Helper()
	for n := range 2 {
		w.assertion(reg, file, n)
		if n > 0 {
			if code, _, errs := w.run("", "regmint", "refresh", reg.Host()); code != 0 {
				t.Fatalf("refresh: exit %d: %s", code, errs)
			}
		}
		if user, said := w.who(reg); user != fmt.Sprint("job-", n) {
			t.Errorf("with token %d: %s", n, said)
		}
	}
}
