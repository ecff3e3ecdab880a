// SPDX-License-Identifier: Apache-2.0

//go:build gcloud

package google_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

// The vendor's own program logs in here and gets tokens; what it says when it
// is refused is what the fake gcloud says. An optional tier, since Debian has no
// package of it: go test -tags gcloud ./test/fakecloud/google
func TestTheRealGcloudIsServed(t *testing.T) {
	program, err := exec.LookPath("gcloud")
	if err != nil {
		t.Fatal("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
	}
	c, g, _ := start(t)
	ci := g.ServiceAccount(ciEmail)
	prod := g.ServiceAccount(prodEmail).AllowImpersonation(ci.Member())
	i := c.Issuer(fakecloud.GitHubIssuer)
	p := g.Provider(google.WorkloadProvider{Issuer: i.URL})
	home, ca := t.TempDir(), c.CAFile(t)
	file := func(name string, b []byte) string {
		name = filepath.Join(home, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	run := func(args ...string) (string, string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = []string{
			"PATH=/usr/bin:/bin", "HOME=" + home, "CLOUDSDK_CONFIG=" + filepath.Join(home, "gcloud"), "HTTPS_PROXY=" + c.ProxyURL(),
			"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE=" + ca, "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=1", "CLOUDSDK_CORE_DISABLE_PROMPTS=1",
			"CLOUDSDK_CORE_CHECK_GCE_METADATA=false", "NO_GCE_CHECK=true",
		}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), stderr.String(), err
	}
	is := func(want string, args ...string) {
		t.Helper()
		out, stderr, err := run(args...)
		if who, _ := g.Who(out); err != nil || who != want {
			t.Errorf("%q: %q, %v: %s", args, who, err, stderr)
		}
	}
	fails := func(want string, args ...string) {
		t.Helper()
		if _, stderr, err := run(args...); err == nil || !strings.Contains(stderr, want) {
			t.Errorf("%q: %v: %s", args, err, stderr)
		}
	}
	key := file("key.json", ci.Key())
	if _, stderr, err := run("auth", "login", "--cred-file="+key); err != nil {
		t.Fatal(stderr)
	}
	is(ci.Member(), "auth", "print-access-token")
	is(prod.Member(), "auth", "print-access-token", "--impersonate-service-account="+prod.Email)
	fails("NOT_FOUND: Failed to impersonate [none@acme.iam.gserviceaccount.com].", "auth", "print-access-token", "--impersonate-service-account=none@acme.iam.gserviceaccount.com")
	wif := file("wif.json", p.Credentials(google.FileSource(file("token", []byte(i.Sign("repo:acme/app", p.Audience(), nil)))), nil, 0))
	if _, stderr, err := run("auth", "login", "--cred-file="+wif); err != nil {
		t.Fatal(stderr)
	}
	is(p.Principal("repo:acme/app"), "auth", "print-access-token")
	ci.DeleteKeys()
	fails("There was a problem refreshing auth tokens for account "+ciEmail+": ('invalid_grant: Invalid JWT Signature.'",
		"auth", "print-access-token", "--account="+ciEmail, "--scopes="+google.ScopeCloudPlatform)
}
