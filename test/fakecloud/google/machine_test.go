// SPDX-License-Identifier: Apache-2.0

package google_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/compute/metadata"
	sdk "golang.org/x/oauth2/google"

	"github.com/regmint/regmint/test/fakecloud/google"
)

// childArg makes the test's program a machine that asks for its identity.
const childArg = "machine"

// The vendor's library reads GCE_METADATA_HOST from the process, once: it runs
// in a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != childArg {
		os.Exit(m.Run())
	}
	type answer struct {
		OnGCE          bool
		Project, Email string
		Token, Problem string
		Left           time.Duration
	}
	a := answer{OnGCE: metadata.OnGCEWithContext(context.Background())}
	a.Project, _ = metadata.ProjectIDWithContext(context.Background())
	a.Email, _ = metadata.EmailWithContext(context.Background(), "")
	tok, err := sdk.ComputeTokenSource("", google.ScopeReadOnly).Token()
	if err != nil {
		a.Problem = err.Error()
	} else {
		a.Token, a.Left = tok.AccessToken, time.Until(tok.Expiry)
	}
	_ = json.NewEncoder(os.Stdout).Encode(a)
}

type machine struct {
	OnGCE          bool
	Project, Email string
	Token, Problem string
	Left           time.Duration
}

func ask(t *testing.T, m *google.Metadata) machine {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, childArg)
	cmd.Env = []string{"GCE_METADATA_HOST=" + m.Host(), "HOME=" + t.TempDir()}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var a machine
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return a
}

func TestMachinesAskTheirMetadataServer(t *testing.T) {
	c, g, _ := start(t)
	ci := g.ServiceAccount(ciEmail)
	m := g.Metadata(google.MetadataOptions{Account: ci})
	a := ask(t, m)
	if !a.OnGCE || a.Project != "acme" || a.Email != ciEmail {
		t.Errorf("%+v", a)
	}
	if who, scopes := g.Who(a.Token); who != ci.Member() || scopes[0] != google.ScopeCloudPlatform {
		t.Errorf("%q %q %s", who, scopes, a.Problem)
	}
	c.Advance(30 * time.Minute)
	if again := ask(t, m); again.Token != a.Token || again.Left > 30*time.Minute {
		t.Errorf("the cached token did not come back: %v left", again.Left)
	}
	c.Advance(26 * time.Minute)
	if again := ask(t, m); again.Token == a.Token || m.Minted() != 2 {
		t.Errorf("the token was not replaced: %d minted", m.Minted())
	}
	m.SetLife(5*time.Minute, 10*time.Second)
	if a := ask(t, m); a.Left > 5*time.Minute {
		t.Errorf("a short token lives for %v", a.Left)
	}
	m.SetAccount(nil)
	if a := ask(t, m); a.Token != "" || a.Problem == "" {
		t.Errorf("a machine without an account has a token: %+v", a)
	}
}

func TestGKEWorkloadsGetTheScopesTheyAskFor(t *testing.T) {
	_, g, _ := start(t)
	ci := g.ServiceAccount(ciEmail)
	a := ask(t, g.Metadata(google.MetadataOptions{Account: ci, GKE: true}))
	if who, scopes := g.Who(a.Token); who != ci.Member() || len(scopes) != 1 || scopes[0] != google.ScopeReadOnly {
		t.Errorf("%q %q %s", who, scopes, a.Problem)
	}
}

func TestMetadataWantsItsHeader(t *testing.T) {
	c, g, _ := start(t)
	m := g.Metadata(google.MetadataOptions{Account: g.ServiceAccount(ciEmail)})
	for name, tc := range map[string]struct {
		header []string
		status int
	}{
		"with it":    {[]string{"Metadata-Flavor", "Google"}, 200},
		"without":    {nil, 403},
		"forwarded":  {[]string{"Metadata-Flavor", "Google", "X-Forwarded-For", "10.0.0.1"}, 403},
		"other word": {[]string{"Metadata-Flavor", "google"}, 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+"/computeMetadata/v1/instance/service-accounts/default/token", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(tc.header); i += 2 {
			r.Header.Set(tc.header[i], tc.header[i+1])
		}
		res, body := send(t, c, r)
		if res.StatusCode != tc.status || res.Header.Get("Metadata-Flavor") != "Google" {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
}

func TestGcloudPrintsTokensOfItsConfigurations(t *testing.T) {
	_, g, _ := start(t)
	ci := g.ServiceAccount(ciEmail).AllowImpersonation("user:" + jane)
	p := g.Gcloud(t)
	dir := t.TempDir()
	p.Configure(t, dir, "default", jane, "acme", true)
	p.Configure(t, dir, "work", ciEmail, "acme-work", false)
	p.Configure(t, dir, "empty", "", "", false)
	p.LogIn(t, dir, jane)
	p.LogIn(t, dir, ciEmail)
	run := func(args ...string) (string, string, error) {
		cmd := exec.CommandContext(t.Context(), p.Path, args...)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "CLOUDSDK_CONFIG=" + dir}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), stderr.String(), err
	}
	who := func(args ...string) string {
		t.Helper()
		out, stderr, err := run(args...)
		if err != nil {
			t.Fatalf("%q: %v %s", args, err, stderr)
		}
		w, _ := g.Who(out)
		return w
	}
	for want, args := range map[string][]string{
		"user:" + jane:              {"auth", "print-access-token"},
		"serviceAccount:" + ciEmail: {"auth", "print-access-token", "--configuration=work"},
	} {
		if got := who(args...); got != want {
			t.Errorf("%q: %q", args, got)
		}
	}
	if got := who("auth", "print-access-token", "--account", ciEmail, "--quiet"); got != ci.Member() {
		t.Error(got)
	}
	if got := who("auth", "print-access-token", "--impersonate-service-account="+ciEmail); got != ci.Member() {
		t.Error(got)
	}
	out, _, err := run("config", "config-helper", "--format=json")
	var helper struct {
		Credential struct {
			Token  string    `json:"access_token"`
			Expiry time.Time `json:"token_expiry"`
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &helper) != nil || time.Until(helper.Credential.Expiry) < 50*time.Minute {
		t.Errorf("%v %s", err, out)
	}
	if out, _, err := run("config", "configurations", "list", "--format=json"); err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, `"name": "work"`) || strings.Count(out, `"is_active": true`) != 1 {
		t.Errorf("%v %s", err, out)
	}
	if out, _, err := run("auth", "list", "--format=json"); err != nil || !strings.Contains(out, `"status": "ACTIVE"`) {
		t.Errorf("%v %s", err, out)
	}

	fails := func(want string, args ...string) {
		t.Helper()
		if out, stderr, err := run(args...); err == nil || out != "" || !strings.Contains(stderr, want) {
			t.Errorf("%q: %v %q %s", args, err, out, stderr)
		}
	}
	fails("(gcloud.auth.print-access-token) You do not currently have an active account selected.", "auth", "print-access-token", "--configuration=empty")
	fails("WARNING: Could not open the configuration file: ["+dir, "auth", "print-access-token", "--configuration=none")
	fails("WARNING: This command is using service account impersonation.", "auth", "print-access-token", "--account=joe@example.com", "--impersonate-service-account="+ciEmail)
	if _, stderr, _ := run("auth", "print-access-token", "--configuration=none", "--verbosity=error"); strings.Contains(stderr, "WARNING") {
		t.Error(stderr)
	}
	fails("[joe@example.com] does not have any valid credentials", "auth", "print-access-token", "--account=joe@example.com")
	fails("Invalid choice", "auth", "frobnicate", "it's")
	g.User(jane).RequireReauth(true)
	p.LogIn(t, dir, jane)
	fails("Reauthentication failed. cannot prompt during non-interactive execution.", "auth", "print-access-token")
	g.User(jane).Logout()
	fails("Token has been expired or revoked.", "auth", "print-access-token")
	p.LogOut(t, dir, jane)
	fails("does not have any valid credentials", "auth", "print-access-token")
	if calls := p.Calls(); len(calls) != 16 || calls[len(calls)-1][1] != "print-access-token" {
		t.Errorf("%d calls: %q", len(calls), calls)
	}
}
