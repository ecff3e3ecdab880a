// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

func TestOptionsThatCannotWorkAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := providers.SecretRef{Scheme: "env", Value: "KEY"}
	for name, o := range map[string]github.Options{
		"gh and a key":         {GH: true, PrivateKey: key, AppID: "1"},
		"gh_user alone":        {GHUser: "jane"},
		"gh_path relative":     {GH: true, GHPath: "gh"},
		"gh_user as an option": {GH: true, GHUser: "--hostname"},
		"a key without an App": {PrivateKey: key},
		"an App without a key": {AppID: "1"},
		"app_id":               {AppID: "x", PrivateKey: key},
		"installation":         {AppID: "1", PrivateKey: key, Installation: "a/b/c"},
		"installation with ..": {AppID: "1", PrivateKey: key, Installation: "../x"},
		"both installations":   {AppID: "1", PrivateKey: key, Installation: "a", InstallationID: "1"},
		"server with a path":   {Server: "https://github.corp.example/api"},
		"server by http":       {Server: "http://github.corp.example"},
		"a scope with a blank": {Scopes: []string{"read:packages write:packages"}},
	} {
		if _, err := github.New().Open(w.account(&o, ""), w.deps); providers.KindOf(err) != providers.Misconfigured || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, o := range []github.Options{{AppID: "1", PrivateKey: key}, {GH: true}} {
		if _, err := github.New().Open(w.account(&o, "x"), w.deps); err == nil {
			t.Errorf("%+v beside a password", o)
		}
	}
}

func TestFetchedTokensAreKnownByTheirPrefix(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, x := range []struct {
		host, user, secret string
		life               time.Duration
	}{
		{"ghcr.io", "x-access-token", "ghs_x", time.Hour},
		{"ghcr.io", "x-access-token", "", time.Hour},
		{"ghcr.io", "jane", "ghs_x", 24 * time.Hour},
		{"ghcr.io", "jane", "ghp_x", 0},
		{"ghcr.io", "x-access-token", "ghp_x", 0},
		{"ghcr.io", "jane", "", 0},
		{"containers.github.corp.example", "jane", "ghs_x", 24 * time.Hour},
	} {
		life, ok := github.New().MintedUser(httpxtest.Host(t, x.host), x.user, providers.NewSecret(x.secret), now)
		if life != x.life || ok != (x.life > 0) {
			t.Errorf("%+v: %s %v", x, life, ok)
		}
	}
}
