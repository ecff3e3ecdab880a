// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func contextOf(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// last finds the installation token of a credential.
func (w *world) made(c providers.Credential) fake.Minted {
	w.t.Helper()
	for _, m := range w.g.Installations() {
		if m.Secret == c.Secret.Reveal() {
			return m
		}
	}
	w.t.Fatal("no such installation token")
	return fake.Minted{}
}

func TestInstallationTokensAreNarrowedByRightAndRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.Package("acme/other")
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	s := w.open(w.app(github.Options{Installation: "acme"}, a), "")
	for _, x := range []struct {
		grants []string
		level  fake.Level
		repos  []string
		wider  bool
	}{
		{nil, fake.Write, nil, false},
		{[]string{"acme/app=pull"}, fake.Read, []string{"app"}, false},
		{[]string{"acme/app/web=push", "acme/other=pull"}, fake.Write, []string{"app", "other"}, false},
		{[]string{"=pull"}, fake.Read, nil, false},
		{[]string{"acme/app=delete"}, fake.Write, []string{"app"}, false},
		{[]string{"acme/no-repository-of-that-name=pull"}, fake.Read, nil, true},
	} {
		c := w.mint(s, x.grants...)
		m := w.made(c)
		if m.Packages != x.level || !slices.Equal(m.Repositories, x.repos) || c.Wider != x.wider || c.Username != "x-access-token" {
			t.Errorf("%v: %+v wider %v", x.grants, m, c.Wider)
		}
		if l := c.Life(); l < 59*time.Minute || l > time.Hour {
			t.Errorf("lives %s", l)
		}
		if !strings.Contains(c.Origin, "app minter on acme") || !strings.Contains(c.Origin, "denied") {
			t.Errorf("origin %q", c.Origin)
		}
	}
	if _, err := s.Mint(t.Context(), w.request("other/app=pull")); providers.KindOf(err) != providers.Denied {
		t.Errorf("another owner's: %v", err)
	}
	if s.Key(w.request("acme/app=pull")) == s.Key(w.request("acme/app=push")) || s.Key(w.request("acme/app=pull")) == s.Key(w.request("acme/other=pull")) {
		t.Error("different tokens, one key")
	}
	r := w.request()
	r.Job = "7f3a"
	if s.Key(r) == s.Key(w.request()) {
		t.Error("a job's token has a key of its own")
	}
}

func TestInstallationsAreFoundInEveryWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.g.App("minter")
	in := a.Install("acme", fake.Write, "app")
	byClient := w.app(github.Options{}, a)
	byClient.AppID, byClient.ClientID = "", a.ClientID
	for name, o := range map[string]*github.Options{
		"by id":               w.app(github.Options{InstallationID: strconv.Itoa(in.ID)}, a),
		"by repository":       w.app(github.Options{Installation: "acme/app"}, a),
		"by owner":            w.app(github.Options{Installation: "acme"}, a),
		"the only one":        w.app(github.Options{}, a),
		"by the App's client": byClient,
	} {
		if c := w.mint(w.open(o, "")); w.made(c).Packages != fake.Write {
			t.Errorf("%s: %+v", name, w.made(c))
		}
	}
	_, err := w.open(w.app(github.Options{Installation: "acme/other"}, a), "").Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "is not installed on acme/other", "install it there")
	a.Install("umbrella", fake.Read)
	only := w.open(w.app(github.Options{}, a), "")
	_, err = only.Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "several accounts (acme, umbrella)", "set installation")
	if c := w.mint(only, "umbrella/x=pull"); w.made(c).Packages != fake.Read {
		t.Error("the owner that is asked for")
	}
	_, err = only.Mint(t.Context(), w.request("umbrella/x=push"))
	w.refused(err, providers.Denied, "packages: read")
	a.Install("poor", fake.None)
	_, err = only.Mint(t.Context(), w.request("poor/x=pull"))
	w.refused(err, providers.Denied, "no permission packages")
	in.Suspend()
	_, err = only.Mint(t.Context(), w.request("acme/app=pull"))
	w.refused(err, providers.Denied, "suspended")
}

func TestPrivateKeysComeInEveryForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	o := w.app(github.Options{}, a)
	for name, text := range map[string]string{
		"as downloaded": a.Key,
		"escaped":       strings.ReplaceAll(a.Key, "\n", `\n`),
		"quoted":        `"` + strings.ReplaceAll(a.Key, "\n", `\n`) + `"`,
		"CRLF":          strings.ReplaceAll(a.Key, "\n", "\r\n"),
		"base64":        base64.StdEncoding.EncodeToString([]byte(a.Key)),
	} {
		w.secrets["env:KEY"] = text
		if _, err := w.open(o, "").Mint(t.Context(), w.request()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.secrets["env:KEY"] = "not a key at all"
	_, err := w.open(o, "").Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "no RSA private key")
	w.secrets["env:KEY"] = w.g.App("other").Key
	_, err = w.open(o, "").Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "is private_key that of the App?")
}

func TestAWrongClockIsMendedOnceByGitHubs(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		w := newWorld(t)
		a := w.g.App("minter")
		a.Install("acme", fake.Write)
		w.deps.Now = func() time.Time { return w.c.Now().Add(skew) }
		s := w.open(w.app(github.Options{Installation: "acme"}, a), "")
		c := w.mint(s)
		if l := c.Life(); l <= 0 || l > time.Hour || !c.ExpiresAt.Before(w.deps.Now().Add(time.Hour+time.Second)) {
			t.Errorf("%s: lives %s, until %s", skew, l, c.ExpiresAt)
		}
		calls := len(w.c.Requests())
		w.mint(s)
		if n := len(w.c.Requests()) - calls; n != 2 {
			t.Errorf("%s: %d requests once the clock is known, want 2", skew, n)
		}
		w.c.Inject(fakecloud.Fault{
			Host: "api.github.com", Path: "/users/acme/installation", Status: http.StatusUnauthorized,
			Body: `{"message":"'Expiration time' claim ('exp') is too far in the future"}`,
		})
		before := len(w.c.Requests())
		_, err := s.Mint(t.Context(), w.request())
		w.refused(err, providers.Unavailable, "check the time of this machine")
		if n := len(w.c.Requests()) - before; n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	}
}

func TestADeniedPullOfAnAppIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	s := w.open(w.app(github.Options{Installation: "acme"}, a), "")
	c := w.mint(s)
	v := s.(providers.Verifier)
	if err := v.Verify(t.Context(), w.request(), c); err != nil {
		t.Errorf("the login alone is taken: %v", err)
	}
	err := v.Verify(t.Context(), w.request("acme/app=pull"), c)
	w.refused(err, providers.Denied, "private images to Apps")
	w.g.Set(func(o *fake.Options) { o.InstallationsPull = true })
	if err := v.Verify(t.Context(), w.request("acme/app=push"), c); err != nil {
		t.Errorf("where the registry does not deny it: %v", err)
	}
}

func TestAnAppsNativeTokenMayDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	a.Install("umbrella", fake.Read)
	s := w.open(w.app(github.Options{Installation: "acme"}, a), "")
	n, err := s.(providers.NativeMinter).MintNative(t.Context(), w.request("acme/app=delete"))
	if err != nil || w.made(n.Credential).Packages != fake.Write {
		t.Errorf("%v", err)
	}
	if n.ForJob {
		t.Error("made for no job")
	}
	if err := s.(providers.NativeChecker).CheckNative(t.Context(), w.request()); err != nil || w.g.Counts().Revoked != 1 {
		t.Errorf("a check leaves no token: %v, %+v", err, w.g.Counts())
	}
	_, err = w.open(w.app(github.Options{Installation: "umbrella"}, a), "").(providers.NativeMinter).MintNative(t.Context(), w.request())
	w.refused(err, providers.Denied, "packages: read")
}
