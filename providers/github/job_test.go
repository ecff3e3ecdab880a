// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

// minter is an account of an App that is installed on acme.
func (w *world) minter() (providers.Source, *fake.App) {
	w.t.Helper()
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	return w.open(w.app(github.Options{Installation: "acme"}, a), ""), a
}

func (w *world) inJob(job string, grants ...string) providers.Request {
	r := w.request(grants...)
	r.Job = job
	return r
}

func TestAJobsTokensEndWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.minter()
	r := w.inJob("7f3a", "acme/app=push")
	c, err := s.Mint(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.(providers.NativeMinter).MintNative(t.Context(), w.inJob("7f3a"))
	if err != nil || !n.ForJob {
		t.Fatalf("made for the job %v: %v", n.ForJob, err)
	}
	other := w.mint(s)
	for range 2 { // the second finds it over
		for _, made := range []providers.Credential{c, n.Credential} {
			if err := s.(providers.Revoker).Revoke(t.Context(), r, made); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !w.made(c).Revoked || !w.made(n.Credential).Revoked || w.made(other).Revoked {
		t.Error("exactly the job's own are revoked")
	}
	if _, makes := w.open(&github.Options{GH: true}, "").(providers.Revoker); makes {
		t.Error("a token of a person is nothing of a job's")
	}
}

func TestTheNextAgentReadsAJobsTokenWithTheAppsKeyAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, a := w.minter()
	r := w.inJob("7f3a", "acme/app=push")
	c, err := s.Mint(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.(providers.Sealer).Seal(t.Context(), r, c)
	if err != nil || text == "" || strings.Contains(text, c.Secret.Reveal()) || strings.Contains(text, c.Secret.Reveal()[4:24]) {
		t.Fatalf("%v %q", err, text)
	}
	if again, err := s.(providers.Sealer).Seal(t.Context(), r, c); err != nil || again == text {
		t.Errorf("sealed alike twice: %v", err)
	}
	next := w.open(w.app(github.Options{Installation: "acme"}, a), "")
	back, err := next.(providers.Sealer).Unseal(t.Context(), r, text)
	if err != nil || back.Secret.Reveal() != c.Secret.Reveal() {
		t.Fatal(err)
	}
	if err := next.(providers.Revoker).Revoke(t.Context(), r, back); err != nil || !w.made(c).Revoked {
		t.Errorf("not revoked: %v", err)
	}
	if l := next.(providers.Sealer).Lives(); l != time.Hour {
		t.Errorf("lives %s", l)
	}
	if _, err := next.(providers.Sealer).Unseal(t.Context(), w.inJob("8c4b", "acme/app=push"), text); err == nil {
		t.Error("another job's entry is read")
	}
	for _, bad := range []string{"", "!", "AAAA", text[:len(text)-8], strings.Repeat("A", len(text))} {
		if _, err := next.(providers.Sealer).Unseal(t.Context(), r, bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
	stranger := w.open(w.app(github.Options{Installation: "acme"}, w.g.App("other")), "")
	_, err = stranger.(providers.Sealer).Unseal(t.Context(), r, text)
	w.refused(err, providers.Misconfigured, "another private key", "within the hour")
}

func TestTryingAnAppLeavesNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	if _, err := w.logIn(&person{}, w.app(github.Options{}, a), providers.LayerSaved); err != nil {
		t.Fatal(err)
	}
	if n := w.g.Counts(); n.Installation != 1 || n.Revoked != 1 {
		t.Errorf("%+v", n)
	}
}
