// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestRefusalsOfTheRegistryAreWorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	bare := r.jane.Token(fake.TokenSpec{Scopes: []string{fake.ReadUser}})
	s := r.open(gitlab.Options{}, r.withSecret(bare.Secret))
	cred := func(secret string) providers.Credential {
		return providers.Credential{Username: "x", Secret: providers.NewSecret(secret)}
	}
	r.wantError(r.verify(s, r.request("", pull("acme/app")), cred(bare.Secret)), providers.Denied, "nothing in its registry", "read_registry")
	dev := r.gl.User("dev")
	r.app.Add(dev, fake.Developer)
	r.app.ProtectPush("acme/app/prod*", fake.Maintainer)
	r.wantError(r.verify(s, r.request("", push("acme/app/prod")), cred(dev.Token(fake.TokenSpec{Scopes: registryScopes}).Secret)), providers.Denied, "protected against pushes")
	r.wantError(r.verify(s, r.request(""), cred("wrong")), providers.LoginRequired, "does not accept the token")
	r.gl.Set(func(o *fake.Options) { o.BanAfter = 1 })
	_ = r.verify(s, r.request(""), cred("wrong"))
	r.wantError(r.verify(s, r.request(""), cred(bare.Secret)), providers.Denied, "keeps an address out for an hour")
}

func TestRegistryThatIsTurnedOffIsSaidSo(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{NoRegistry: true})
	for name, secret := range map[string]string{"a token": r.jane.Token(fake.TokenSpec{Scopes: registryScopes}).Secret, "a job": r.app.Job(r.jane).Token} {
		s := r.open(gitlab.Options{}, r.withSecret(secret))
		c := providers.Credential{Username: fake.JobUser, Secret: providers.NewSecret(secret)}
		err := r.verify(s, r.request("", pull("acme/app")), c)
		r.wantError(err, providers.Misconfigured, "the container registry is not enabled there", "ask an administrator of GitLab")
		if strings.Contains(err.Error(), "UNAVAILABLE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// H53: what a single sign-on in front of GitLab answers.
func TestPageInPlaceOfTheAPIIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s := r.open(gitlab.Options{}, r.withSecret(r.jane.Token(fake.TokenSpec{Scopes: []string{fake.API}}).Secret))
	r.cloud.Inject(fakecloud.Fault{Host: "gitlab.com", Path: "/api/v4", Status: 302, Header: http.Header{"Location": {"/users/sign_in"}}})
	_, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request(""))
	r.wantError(err, providers.Unavailable, "GitLab's sign-in page at gitlab.com in place of its API", "look at url")
}

func TestSelfManagedGitLabIsFoundByTheChallenge(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{Host: "git.corp.example", Registry: "reg.corp.example"})
	pat := r.jane.Token(fake.TokenSpec{Name: "found", Scopes: registryScopes})
	proxy := providers.Request{Host: httpxtest.Host(t, "git.corp.example")}
	if c := r.mint(r.open(gitlab.Options{}, r.withSecret(pat.Secret)), proxy); !strings.Contains(c.Origin, `"found"`) {
		t.Errorf("the same name: %+v", c)
	}
	r = newRig(t, fake.Options{Host: "git.corp.example", Registry: "reg.corp.example"})
	pat = r.jane.Token(fake.TokenSpec{Name: "found", Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret))
	c := r.mint(s, r.request(""))
	if strings.Contains(c.Origin, "found") {
		t.Error("another name is believed without being named")
	}
	r.wantError(r.verify(s, r.request(""), c), providers.Misconfigured, "git.corp.example")
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "git.corp.example" }); n != 0 {
		t.Errorf("%d requests to a host that nobody named", n)
	}
	s = r.open(gitlab.Options{URL: "https://git.corp.example/"}, r.withSecret(pat.Secret))
	if c = r.mint(s, r.request("")); !strings.Contains(c.Origin, "found") || r.verify(s, r.request("", push("acme/app")), c) != nil {
		t.Errorf("with url: %+v", c)
	}
}

func TestHostsOfAWildcardMayBeOfSeveralInstances(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{Host: "one.corp.example", Registry: "images.one.example"})
	two := fake.New(r.cloud, fake.Options{Host: "two.corp.example", Registry: "images.two.example"})
	pat := r.jane.Token(fake.TokenSpec{Name: "first", Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret), func(a *providers.Account) {
		for _, h := range []string{"*.corp.example", two.Host()} {
			p, err := providers.ParsePattern(h)
			if err != nil {
				t.Fatal(err)
			}
			a.Hosts = append(a.Hosts, p)
		}
	})
	if c := r.mint(s, providers.Request{Host: httpxtest.Host(t, "one.corp.example")}); !strings.Contains(c.Origin, "first") {
		t.Errorf("%+v", c)
	}
	_, err := s.Mint(t.Context(), providers.Request{Host: httpxtest.Host(t, "two.corp.example")})
	r.wantError(err, providers.LoginRequired) // the other instance was asked, and does not know it
}
