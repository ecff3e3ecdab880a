// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/test/fakecloud"
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

func TestATokenWhoseScopesAreNotKnownIsNoneForTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open(&github.Options{}, w.jane.Classic(fake.WritePackages, fake.DeletePackages).Secret)
	w.c.Inject(fakecloud.Fault{Host: "api.github.com", Status: http.StatusForbidden, Body: `{"message":"API rate limit exceeded"}`})
	_, err := s.(providers.NativeMinter).MintNative(t.Context(), w.request())
	w.refused(err, providers.Unavailable, "limits how often")
	w.c.ClearFaults()
	w.c.Inject(fakecloud.Fault{Host: "api.github.com", Status: http.StatusOK, Body: "<html>single sign-on</html>"})
	_, err = s.(providers.NativeMinter).MintNative(t.Context(), w.request())
	w.refused(err, providers.Unavailable, "did not say whose the token is")
	w.c.ClearFaults()
	if _, err := s.(providers.NativeMinter).MintNative(t.Context(), w.request()); err != nil {
		t.Error(err)
	}
}

// werf's clean-up asks api.github.com, whatever the registry.
func TestATokenIsNamedForTheToolsOfItsOwnGitHub(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"github.com": "GH_TOKEN WERF_REPO_GITHUB_TOKEN", "octo.ghe.com": "GH_TOKEN", "github.corp.example": "GH_ENTERPRISE_TOKEN",
	} {
		w := worldOf(t, fake.Options{Host: host})
		n, err := w.open(&github.Options{}, w.jane.Classic(fake.ReadPackages, fake.DeletePackages).Secret).(providers.NativeMinter).MintNative(t.Context(), w.request())
		var got []string
		for _, v := range n.Env {
			got = append(got, v.Name)
			if !v.Value.Equal(n.Secret) {
				t.Errorf("%s: %s is another secret", host, v.Name)
			}
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q %v", host, got, err)
		}
	}
}

func TestARefusalLeadsToATokenThatDoesAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, x := range []struct{ has, wants, link string }{
		{"read:packages", "acme/app=delete", "scopes=read:packages,delete:packages"},
		{"write:packages", "acme/app=delete", "scopes=write:packages,delete:packages"},
		{"repo", "acme/app=pull", "scopes=read:packages"},
	} {
		s := w.open(&github.Options{}, w.jane.Classic(x.has).Secret)
		_, err := s.(providers.NativeMinter).MintNative(t.Context(), w.request(x.wants))
		w.refused(err, providers.Denied, "https://github.com/settings/tokens/new?"+x.link)
		if err != nil && !strings.HasSuffix(err.Error(), x.link) {
			t.Errorf("%v", err)
		}
	}
	_, err := w.open(&github.Options{}, w.jane.Classic("delete:packages").Secret).Mint(t.Context(), w.request("acme/app=push"))
	w.refused(err, providers.Denied, "scopes=write:packages,delete:packages")
}
