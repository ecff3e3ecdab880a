// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestNativeTokenNeedsTheScopeAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	small := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(small.Secret))
	r.wantError(s.(providers.NativeChecker).CheckNative(t.Context(), r.request("")), providers.Denied, "scope api", "read_registry, write_registry")
	full := r.jane.Token(fake.TokenSpec{Scopes: []string{fake.API}})
	n, err := r.open(gitlab.Options{}, r.withSecret(full.Secret)).(providers.NativeMinter).MintNative(t.Context(), r.request(""))
	if err != nil || n.Secret.Reveal() != full.Secret || len(n.Env) != 1 || n.Env[0].Name != "GITLAB_TOKEN" || n.ExpiresAt.IsZero() {
		t.Errorf("%+v, %v", n, err)
	}
	reader := r.jane.Token(fake.TokenSpec{Scopes: []string{fake.ReadAPI}})
	s = r.open(gitlab.Options{}, r.withSecret(reader.Secret))
	if _, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request("", pull("acme/app"))); err != nil {
		t.Errorf("reading with read_api: %v", err)
	}
	_, err = s.(providers.NativeMinter).MintNative(t.Context(), r.request("", providers.Grant{Repository: "acme/app", Access: providers.Delete}))
	r.wantError(err, providers.Denied, "scope api")
}

func TestNativeJobTokenIsMarkedAndForItsOwnProjectAlone(t *testing.T) {
	t.Parallel()
	s, q := ambient(t, "registry.gitlab.com", ciJob("registry.gitlab.com", "gitlab.com:443"))
	q.Grants = []providers.Grant{{Repository: "acme/app/web", Access: providers.Delete}}
	n, err := s.(providers.NativeMinter).MintNative(t.Context(), q)
	if err != nil || len(n.Env) != 1 || n.Env[0].Name != "CI_JOB_TOKEN" || !strings.Contains(n.Origin, "own project alone") {
		t.Errorf("%+v, %v", n, err)
	}
	for _, repository := range []string{"acme/application", "acme", "other/app"} {
		q.Grants[0].Repository = repository
		if _, err := s.(providers.NativeMinter).MintNative(t.Context(), q); providers.KindOf(err) != providers.Denied {
			t.Errorf("%s: %v", repository, err)
		}
	}
}
