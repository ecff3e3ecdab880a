// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func TestNativeTokensAreRefusedByUsWithTheScopeNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, x := range []struct {
		scopes []string
		grants []string
		lacks  string
	}{
		{[]string{fake.ReadPackages, fake.DeletePackages}, nil, ""},
		{[]string{fake.WritePackages}, nil, "delete:packages"},
		{[]string{fake.WritePackages}, []string{"acme/app=delete"}, "delete:packages"},
		{[]string{fake.DeletePackages}, nil, "read:packages"},
		{[]string{fake.ReadPackages}, []string{"acme/app=pull"}, ""},
	} {
		s := w.open(&github.Options{}, w.jane.Classic(x.scopes...).Secret)
		n, err := s.(providers.NativeMinter).MintNative(t.Context(), w.request(x.grants...))
		if checked := s.(providers.NativeChecker).CheckNative(t.Context(), w.request(x.grants...)); (checked == nil) != (err == nil) {
			t.Errorf("%v: check says %v", x, checked)
		}
		if x.lacks != "" {
			w.refused(err, providers.Denied, "no scope "+x.lacks)
			continue
		}
		if err != nil || n.Secret.IsZero() || n.Env[0].Name != "GH_TOKEN" || n.Env[1].Name != "WERF_REPO_GITHUB_TOKEN" {
			t.Errorf("%v: %v %v", x, n.Env, err)
		}
	}
}
