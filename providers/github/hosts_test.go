// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func TestHostsAreRecognisedByTheirWholeName(t *testing.T) { // H25, H28, H29
	t.Parallel()
	for host, want := range map[string]bool{
		"ghcr.io": true, "docker.pkg.github.com": true, "containers.octo.ghe.com": true,
		"ghcr.io.evil.example": false, "xghcr.io": false, "ghcr.io:8443": false, "containers.ghe.com": false, "a.containers.octo.ghe.com": false,
		"octo.ghe.com": false, "containers.octo.ghe.com.evil.example": false, "github.com": false, "containers.github.corp.example": false,
	} {
		if got := github.New().Match(httpxtest.Host(t, host)); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestTheRetiredRegistrySaysWhereItsImagesWent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.host = "docker.pkg.github.com"
	w.ambient()
	_, err := w.open(&github.Options{}, "").Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "retired", "ghcr.io/OWNER/IMAGE")
	if n := len(w.c.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestEnterpriseServersAreAskedUnderTheirOwnNames(t *testing.T) {
	t.Parallel()
	for host, x := range map[string]struct{ web, api, server string }{
		"containers.github.corp.example": {"github.corp.example", "github.corp.example", ""},
		"containers.octo.ghe.com":        {"octo.ghe.com", "api.octo.ghe.com", ""},
		"registry.corp.example":          {"github.corp.example", "github.corp.example", "https://github.corp.example"},
	} {
		t.Run(host, func(t *testing.T) {
			w := worldOf(t, fake.Options{Host: x.web, Registry: host})
			pat := w.jane.Classic(fake.WritePackages)
			s := w.open(&github.Options{Server: x.server}, pat.Secret)
			if c := w.mint(s); c.Username != "jane" {
				t.Errorf("%+v", c)
			}
			if got := w.c.Reached(); len(got) != 1 || got[0] != x.api {
				t.Errorf("reached %q", got)
			}
			c := w.mint(s)
			if err := s.(providers.Verifier).Verify(t.Context(), w.request(), c); err != nil {
				t.Error(err)
			}
		})
	}
	w := newWorld(t) // actions/runner#1291: the token of one GitHub at another's registry
	_, err := w.open(&github.Options{Server: "github.corp.example"}, w.jane.Classic(fake.WritePackages).Secret).Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "github.corp.example")
	w.host = "registry.evil.example"
	w.edit = func(a *providers.Account) {
		p, err := providers.ParsePattern("*.evil.example")
		if err != nil {
			t.Fatal(err)
		}
		a.Hosts = []providers.Pattern{p}
	}
	_, err = w.open(&github.Options{}, w.jane.Classic(fake.WritePackages).Secret).Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "wildcard")
}

// GHE.com is many GitHubs: anybody may have one, and no token is for two.
func TestATokenIsForOneGitHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hosts := func(list ...string) {
		w.edit = func(a *providers.Account) {
			a.Hosts = nil
			for _, text := range list {
				p, err := providers.ParsePattern(text)
				if err != nil {
					t.Fatal(err)
				}
				a.Hosts = append(a.Hosts, p)
			}
		}
	}
	hosts("containers.*.ghe.com")
	w.host = "containers.evil.ghe.com"
	secret := w.jane.Classic(fake.WritePackages).Secret
	_, err := w.open(&github.Options{}, secret).Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "wildcard", "set server")
	_, err = w.open(&github.Options{Server: "octo.ghe.com"}, secret).Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "octo.ghe.com")
	if n := len(w.c.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	for name, x := range map[string]struct {
		hosts []string
		o     github.Options
		ok    bool
	}{
		"two of them":                   {[]string{"ghcr.io", "containers.octo.ghe.com"}, github.Options{}, false},
		"a server and github.com":       {[]string{"ghcr.io", "containers.github.corp.example"}, github.Options{}, false},
		"both names of one server":      {[]string{"docker.github.corp.example", "containers.github.corp.example"}, github.Options{}, true},
		"parts of one":                  {[]string{"ghcr.io/acme", "ghcr.io/other"}, github.Options{}, true},
		"gh, which has a login of each": {[]string{"ghcr.io", "containers.octo.ghe.com"}, github.Options{GH: true}, true},
		"a mirror that is said so":      {[]string{"ghcr.io", "mirror.corp.example"}, github.Options{Server: "github.com"}, true},
	} {
		hosts(x.hosts...)
		_, err := github.New().Open(w.account(&x.o, ""), w.deps)
		if (err == nil) != x.ok || !x.ok && providers.KindOf(err) != providers.Misconfigured {
			t.Errorf("%s: %v", name, err)
		}
	}
}
