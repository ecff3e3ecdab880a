// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

const canary = "glpat-CNRYgitlab0123456789abcdef012345"

func TestHostsOfGitLabAreRecognisedAndNoOthers(t *testing.T) {
	t.Parallel()
	p := gitlab.New()
	for s, want := range map[string]bool{
		"registry.gitlab.com": true, "gitlab.com": true, "gitlab.com:443": true, "REGISTRY.GITLAB.COM": true,
		"registry.gitlab.com:5050": false, "xgitlab.com": false, "registry.gitlab.com.evil.example": false, "evil-registry.gitlab.com": false,
		"registry.gitlab.example": false, "a.registry.gitlab.com": false, "about.gitlab.com": false,
	} {
		if got := p.Match(httpxtest.Host(t, s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

func ciJob(registry, proxy string) map[string]string {
	return map[string]string{"CI_JOB_TOKEN": canary, "CI_REGISTRY": registry, "CI_DEPENDENCY_PROXY_SERVER": proxy, "CI_PROJECT_PATH": "Acme/App"}
}

func TestJobClaimsItsOwnRegistryAndProxy(t *testing.T) {
	t.Parallel()
	p := gitlab.New()
	got := p.Claims(ciJob("registry.corp.example:5050", "gitlab.corp.example:443"))
	if len(got) != 2 || got[0] != httpxtest.Host(t, "registry.corp.example:5050") || got[1] != httpxtest.Host(t, "gitlab.corp.example") {
		t.Errorf("%v", got)
	}
	for what, env := range map[string]map[string]string{
		"nothing": {}, "no token": {"CI_REGISTRY": "registry.corp.example"}, "no host": {"CI_JOB_TOKEN": canary},
		"odd hosts": ciJob("https://evil.example/x", "a b"),
	} {
		if got := p.Claims(env); len(got) != 0 {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// ambient opens the account of a host that is recognised.
func ambient(t *testing.T, host string, env map[string]string) (providers.Source, providers.Request) {
	t.Helper()
	d, _ := httpxtest.Deps(t, nil)
	d.Env = env
	pat, err := providers.ParsePattern(host)
	if err != nil {
		t.Fatal(err)
	}
	s, err := gitlab.New().Open(providers.Account{Name: "gitlab:" + host, Hosts: []providers.Pattern{pat}, Options: &gitlab.Options{}, Layer: providers.LayerAmbient}, d)
	if err != nil {
		t.Fatal(err)
	}
	return s, providers.Request{Host: httpxtest.Host(t, host)}
}

// Rule 12: the port matters, and :443 is none.
func TestJobTokenGoesToItsRegistryAndProxyAndNowhereElse(t *testing.T) {
	t.Parallel()
	env := ciJob("registry.corp.example:5050", "gitlab.corp.example:443")
	for _, host := range []string{"registry.corp.example:5050", "gitlab.corp.example", "gitlab.corp.example:443"} {
		s, r := ambient(t, host, env)
		c, err := s.Mint(t.Context(), r)
		if err != nil || c.Username != "gitlab-ci-token" || c.Secret.Reveal() != canary || !strings.Contains(c.Origin, "Acme/App") || !c.ExpiresAt.IsZero() {
			t.Errorf("%s: %+v, %v", host, c, err)
		}
	}
	for _, host := range []string{
		"registry.corp.example", "registry.corp.example:5051", "gitlab.corp.example:8443", "registry.gitlab.com", "gitlab.com", "corp.example", "registry.corp.example.evil.example",
	} {
		s, r := ambient(t, host, env)
		if c, err := s.Mint(t.Context(), r); providers.KindOf(err) != providers.NoAccount || !c.Secret.IsZero() {
			t.Errorf("%s got %+v, %v", host, c, err)
		}
	}
}

func TestDeployTokenOfTheJobGoesToTheRegistryAlone(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"CI_REGISTRY": "registry.gitlab.com", "CI_DEPENDENCY_PROXY_SERVER": "gitlab.com:443", "CI_DEPLOY_USER": "gitlab+deploy-token-1", "CI_DEPLOY_PASSWORD": canary,
	}
	s, r := ambient(t, "registry.gitlab.com", env)
	if c, err := s.Mint(t.Context(), r); err != nil || c.Username != "gitlab+deploy-token-1" || c.Secret.Reveal() != canary {
		t.Errorf("%+v, %v", c, err)
	}
	s, r = ambient(t, "gitlab.com", env)
	if _, err := s.Mint(t.Context(), r); providers.KindOf(err) != providers.NoAccount {
		t.Errorf("the proxy: %v", err)
	}
	env["CI_JOB_TOKEN"] = "job"
	s, r = ambient(t, "registry.gitlab.com", env)
	if c, err := s.Mint(t.Context(), r); err != nil || c.Username != "gitlab-ci-token" {
		t.Errorf("beside a job token: %+v, %v", c, err)
	}
	env["CI_JOB_TOKEN"] = "job\ntoken"
	if _, err := s.Mint(t.Context(), r); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("a line break: %v", err)
	}
}

func TestLoginWithAJobTokenEndsByItself(t *testing.T) {
	t.Parallel()
	h, now := httpxtest.Host(t, "registry.gitlab.com"), time.Now()
	body := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d,"x":"????????"}`, now.Add(3*time.Hour).Unix())) // holds a _
	for secret, want := range map[string]time.Duration{
		"glcbt-64_abcdef": time.Hour, "plain": time.Hour, "eyJhbGciOiJSUzI1NiJ9." + body + ".c2ln": 3 * time.Hour, "glcbt-64_eyJhbGciOiJSUzI1NiJ9." + body + ".c2ln": 3 * time.Hour,
	} {
		life, ok := gitlab.New().MintedUser(h, "gitlab-ci-token", providers.NewSecret(secret), now)
		if !ok || life.Round(time.Minute) != want {
			t.Errorf("%s: %v, %v", secret, life, ok)
		}
	}
	for _, user := range []string{"jane", "regmint", "oauth2"} {
		if _, ok := gitlab.New().MintedUser(h, user, providers.NewSecret("glpat-x"), now); ok {
			t.Errorf("a person's token under %s is none of a job", user)
		}
		if _, ok := gitlab.New().MintedUser(h, user, providers.Secret{}, now); ok == (user == "jane") {
			t.Errorf("whether %s is somebody: %v", user, !ok)
		}
	}
}

// The registry says where a login goes; the variables of the job whose token it
// is say whether that is its GitLab.
func TestJobTokenIsShownToItsOwnGitLabAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{Host: "git.corp.example", Registry: "images.corp.example"})
	own := map[string]string{"CI_JOB_TOKEN": r.app.Job(r.jane).Token, "CI_REGISTRY": "images.corp.example"}
	for _, tt := range []struct {
		name, value, port string
		shown             bool
	}{
		{"CI_SERVER_HOST", "git.corp.example", "443", true},
		{"CI_SERVER_HOST", "git.corp.example", "", true},
		{"CI_SERVER_HOST", "git.corp.example", "8443", false},
		{"CI_SERVER_HOST", "git.corp.example", "80", true}, // as one by http is addressed
		{"CI_DEPENDENCY_PROXY_SERVER", "git.corp.example:443", "", true},
		{"CI_SERVER_HOST", "other.corp.example", "443", false},
		{"CI_SERVER_HOST", "corp.example", "443", false},
		{"CI_SERVER_URL", "https://git.corp.example", "443", false},
	} {
		r.deps.Env = maps.Clone(own)
		r.deps.Env[tt.name], r.deps.Env["CI_SERVER_PORT"] = tt.value, tt.port
		s := r.open(gitlab.Options{}, func(a *providers.Account) { a.Layer = providers.LayerAmbient })
		before := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "git.corp.example" })
		err := r.verify(s, r.request("", push("acme/app")), r.mint(s, r.request("")))
		asked := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "git.corp.example" }) > before
		if tt.shown != (err == nil) || tt.shown != asked {
			t.Errorf("%s=%s, port %q: asked %v, %v", tt.name, tt.value, tt.port, asked, err)
		}
	}
}

func TestVariablesThatAreNotSetAreSaidToComeFromJobs(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	for kind, want := range map[string]string{"job": "GitLab sets it in its CI jobs", "deploy": "a deploy token named gitlab-deploy-token"} {
		var id gitlab.Identity
		if err := id.UnmarshalText([]byte(kind)); err != nil {
			t.Fatal(err)
		}
		_, err := r.open(gitlab.Options{Identity: id}).Mint(t.Context(), r.request(""))
		r.wantError(err, providers.Misconfigured, want)
	}
}
