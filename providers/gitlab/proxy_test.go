// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"slices"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

const proxied = "acme/dependency_proxy/containers/alpine"

// The Dependency Proxy is on GitLab's own name, of gitlab.com and of others,
// whether url says so or the challenge.
func TestDependencyProxyTakesBothScopesAndNoLess(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]fake.Options{"gitlab.com": {}, "self-managed": {Host: "git.corp.example", Registry: "images.corp.example"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, o)
			q := providers.Request{Host: httpxtest.Host(t, r.gl.Host()), Grants: []providers.Grant{pull(proxied)}}
			pat := func(scopes ...string) string { return r.jane.Token(fake.TokenSpec{Scopes: scopes}).Secret }
			group := r.gl.Group("acme")
			dep := group.DeployToken(fake.DeploySpec{Scopes: registryScopes})
			for _, tt := range []struct {
				name, user, secret string
				refused            bool
			}{
				{"a PAT", "", pat(registryScopes...), false},
				{"a PAT with api", "", pat(fake.API), false},
				{"virtual scopes", "", pat(fake.ReadVirtualRegistry, fake.WriteVirtualRegistry), false},
				{"a group's token", "", group.Token(fake.TokenSpec{Level: fake.Reporter, Scopes: registryScopes}).Secret, false},
				{"a group's deploy token", dep.Username, dep.Secret, false},
				{"read alone", "", pat(fake.ReadRegistry), true},
				{"read_api alone", "", pat(fake.ReadAPI), true},
			} {
				for _, url := range []string{"", "https://" + r.gl.Host()} {
					s := r.open(gitlab.Options{URL: url}, r.withSecret(tt.secret), func(a *providers.Account) { a.Username = tt.user })
					c, err := s.Mint(t.Context(), q)
					if tt.refused {
						r.wantError(err, providers.Denied, "the Dependency Proxy needs read_registry and write_registry, and the token has")
						continue
					}
					if err != nil {
						t.Errorf("%s, url %q: %v", tt.name, url, err)
					} else if err := r.verify(s, q, c); err != nil {
						t.Errorf("%s, url %q: %v", tt.name, url, err)
					}
				}
			}
			lone := r.app.DeployToken(fake.DeploySpec{Scopes: registryScopes})
			s := r.open(gitlab.Options{}, r.withSecret(lone.Secret), func(a *providers.Account) { a.Username = lone.Username })
			r.wantError(r.verify(s, q, r.mint(s, q)), providers.Denied, "Dependency Proxy")
		})
	}
}

func TestTokenOfAJobOpensTheProxyOfItsGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	r.gl.Group("acme").Add(r.jane, fake.Owner)
	q := providers.Request{Host: httpxtest.Host(t, "gitlab.com"), Job: "j", Grants: []providers.Grant{pull(proxied)}}
	s, _ := r.maker(gitlab.Options{Group: "acme"})
	c := r.mint(s, q)
	if token := r.gl.Token(c.Secret.Reveal()); !slices.Equal(token.Scopes, registryScopes) {
		t.Errorf("%v", token.Scopes)
	}
	if err := r.verify(s, q, c); err != nil {
		t.Error(err)
	}
	s, _ = r.maker(gitlab.Options{Project: "acme/app"})
	_, err := s.Mint(t.Context(), q)
	r.wantError(err, providers.Misconfigured, "a project's token does not open the Dependency Proxy", "set group")
	if n := len(r.made()); n != 1 {
		t.Errorf("%d tokens are there", n)
	}
}
