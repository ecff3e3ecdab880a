// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

// maker opens an account that makes tokens for jobs.
func (r *rig) maker(o gitlab.Options) (providers.Source, *fake.Token) {
	r.t.Helper()
	pat := r.jane.Token(fake.TokenSpec{Name: "maker", Scopes: []string{fake.API}})
	if o.Group == "" && o.Project == "" {
		o.Project = "acme/app"
	}
	return r.open(o, r.withSecret(pat.Secret)), pat
}

// made are the living tokens of jobs.
func (r *rig) made() []*fake.Token {
	return slices.DeleteFunc(r.gl.Tokens(), func(t *fake.Token) bool { return !strings.HasPrefix(t.Name, "regmint-") })
}

func TestTokenOfAJobDoesWhatTheJobAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, pat := r.maker(gitlab.Options{})
	for _, tt := range []struct {
		grants []providers.Grant
		scopes []string
		can    []providers.Grant
		cannot []providers.Grant
		wider  bool
	}{
		{[]providers.Grant{{Access: providers.Pull}}, []string{fake.ReadRegistry}, []providers.Grant{pull("acme/app")}, []providers.Grant{push("acme/app")}, false},
		{[]providers.Grant{pull("acme/app/web")}, []string{fake.ReadRegistry}, []providers.Grant{pull("acme/app/web")}, []providers.Grant{push("acme/app/web")}, true},
		{nil, registryScopes, []providers.Grant{push("acme/app")}, []providers.Grant{{Repository: "acme/app", Access: providers.Delete}}, false},
		{[]providers.Grant{push("acme/app")}, registryScopes, []providers.Grant{push("acme/app")}, nil, true},
		{[]providers.Grant{{Access: providers.Delete}}, []string{fake.API}, []providers.Grant{{Repository: "acme/app", Access: providers.Delete}}, nil, false},
	} {
		q := r.request("7f3a", tt.grants...)
		c := r.mint(s, q)
		token := r.gl.Token(c.Secret.Reveal())
		if token == nil || token.Secret == pat.Secret || !slices.Equal(token.Scopes, tt.scopes) || !strings.HasPrefix(token.Name, "regmint-7f3a-") || c.Wider != tt.wider {
			t.Errorf("%v: %+v, wider %v", tt.grants, token, c.Wider)
			continue
		}
		if !c.ExpiresAt.Equal(token.Expires()) || c.Life() > 32*time.Hour || c.Life() < 8*time.Hour-time.Minute {
			t.Errorf("ends %v", c.ExpiresAt)
		}
		for _, g := range tt.can {
			if err := r.verify(s, r.request("", g), c); err != nil {
				t.Errorf("%v: %v: %v", tt.grants, g, err)
			}
		}
		for _, g := range tt.cannot {
			r.wantError(r.verify(s, r.request("", g), c), providers.Denied)
		}
	}
}

func TestTwoJobsAreTwoTokensAndNoJobIsTheAccountsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, pat := r.maker(gitlab.Options{})
	if s.Key(r.request("a")) == s.Key(r.request("b")) || s.Key(r.request("a")) == s.Key(r.request("a", pull(""))) {
		t.Error("keys of two jobs, or of two accesses, are equal")
	}
	a, b := r.mint(s, r.request("a")), r.mint(s, r.request("b"))
	if a.Secret.Equal(b.Secret) {
		t.Error("two jobs share a token")
	}
	if c := r.mint(s, r.request("")); c.Secret.Reveal() != pat.Secret {
		t.Error("without a job it is the account's own token")
	}
	rv := s.(providers.Revoker)
	if err := rv.Revoke(t.Context(), r.request("a"), a); err != nil {
		t.Fatal(err)
	}
	if got := r.made(); len(got) != 1 || got[0].Secret != b.Secret.Reveal() {
		t.Errorf("%d are left", len(got))
	}
	if err := rv.Revoke(t.Context(), r.request("a"), a); err != nil {
		t.Errorf("twice: %v", err)
	}
	if err := rv.Revoke(t.Context(), r.request(""), providers.Credential{Secret: providers.NewSecret(pat.Secret)}); err != nil || !pat.Active() {
		t.Error("the account's own token is revoked")
	}
}

func TestTokenWhoseAnswerWasLostIsFoundByItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, _ := r.maker(gitlab.Options{})
	other := r.mint(s, r.request("7f3ab"))
	r.gl.Lose(fake.CreateToken, 1)
	if _, err := s.Mint(t.Context(), r.request("7f3a")); providers.KindOf(err) != providers.Unavailable {
		t.Fatal(err)
	}
	if n := len(r.made()); n != 2 {
		t.Fatalf("%d tokens", n)
	}
	for range 2 {
		if err := s.(providers.Sweeper).Sweep(t.Context(), r.request("7f3a")); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.made(); len(got) != 1 || got[0].Secret != other.Secret.Reveal() {
		t.Errorf("%d tokens are left, and one is of another job", len(got))
	}
}

// What the agent does at a job's end: what it knows, then what bears the name.
func TestRenewalsOfAJobAreRevokedWithIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, maker := r.maker(gitlab.Options{})
	r.mint(s, r.request("j"))
	last := r.mint(s, r.request("j"))
	if err := s.(providers.Revoker).Revoke(t.Context(), r.request("j"), last); err != nil || len(r.made()) != 1 {
		t.Errorf("%v, %d left", err, len(r.made()))
	}
	if err := s.(providers.Sweeper).Sweep(t.Context(), r.request("j")); err != nil || len(r.made()) != 0 {
		t.Errorf("%v, %d left", err, len(r.made()))
	}
	last = r.mint(s, r.request("j"))
	maker.Revoke()
	if err := s.(providers.Revoker).Revoke(t.Context(), r.request("j"), last); err != nil || len(r.made()) != 0 {
		t.Errorf("after the maker is gone: %v, %d left", err, len(r.made()))
	}
}

func TestRevocationThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, _ := r.maker(gitlab.Options{})
	r.mint(s, r.request("j"))
	last := r.mint(s, r.request("j"))
	r.cloud.Inject(fakecloud.Fault{Host: "gitlab.com", Path: "/api/v4", Status: 403, Body: "{}", Times: 2})
	r.wantError(s.(providers.Revoker).Revoke(t.Context(), r.request("j"), last), providers.Denied)
	r.wantError(s.(providers.Sweeper).Sweep(t.Context(), r.request("j")), providers.Denied)
	if n := len(r.made()); n != 2 {
		t.Fatalf("%d are left", n)
	}
	if err := s.(providers.Sweeper).Sweep(t.Context(), r.request("j")); err != nil || len(r.made()) != 0 {
		t.Errorf("%v, %d left", err, len(r.made()))
	}
}

func TestSweepReadsMoreThanAPageAndNoOtherJobs(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, _ := r.maker(gitlab.Options{})
	for range 130 {
		r.app.Token(fake.TokenSpec{Name: "regmint-j-0000", Scopes: registryScopes})
	}
	other := r.app.Token(fake.TokenSpec{Name: "not-regmint-j-0000", Scopes: registryScopes}) // the search finds it too
	if err := s.(providers.Sweeper).Sweep(t.Context(), r.request("j")); err != nil || len(r.made()) != 0 || !other.Active() {
		t.Errorf("%v, %d left, another one lives: %v", err, len(r.made()), other.Active())
	}
}

func TestTokenOfAGroupReachesItsProjects(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	r.gl.Group("acme").Add(r.jane, fake.Owner)
	s, _ := r.maker(gitlab.Options{Group: "acme", AccessLevel: "developer"})
	c := r.mint(s, r.request("j", pull("acme/app")))
	if token := r.gl.Token(c.Secret.Reveal()); token == nil || token.Kind != fake.GroupToken || r.verify(s, r.request("", pull("acme/app")), c) != nil {
		t.Errorf("%+v", token)
	}
	if err := s.(providers.Sweeper).Sweep(t.Context(), r.request("j")); err != nil || len(r.made()) != 0 {
		t.Errorf("%v, %d left", err, len(r.made()))
	}
}

func TestTokensThatCannotBeMadeSayWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	dev := r.gl.User("dev")
	r.app.Add(dev, fake.Developer)
	r.gl.Group("acme").Add(r.jane, fake.Maintainer)
	maker := r.jane.Token(fake.TokenSpec{Scopes: []string{fake.API}}).Secret
	for name, tt := range map[string]struct {
		secret string
		o      gitlab.Options
		grants []providers.Grant
		kind   providers.Kind
		want   []string
	}{
		"outside":         {maker, gitlab.Options{Project: "acme/app"}, []providers.Grant{pull("acme/application")}, providers.Denied, []string{"outside of project acme/app"}},
		"no project":      {maker, gitlab.Options{Project: "acme/none"}, nil, providers.Misconfigured, []string{"no project acme/none", "member"}},
		"a developer":     {dev.Token(fake.TokenSpec{Scopes: []string{fake.API}}).Secret, gitlab.Options{Project: "acme/app"}, nil, providers.Denied, []string{"project acme/app", "of a maintainer"}},
		"no owner":        {maker, gitlab.Options{Group: "acme"}, nil, providers.Denied, []string{"group acme", "of an owner"}},
		"a project token": {r.app.Token(fake.TokenSpec{Scopes: []string{fake.API}}).Secret, gitlab.Options{Project: "acme/app"}, nil, providers.Denied, []string{"a personal token"}},
		"too high a role": {maker, gitlab.Options{Project: "acme/app", AccessLevel: "owner"}, nil, providers.Denied, []string{"set access_level"}},
		"an odd scope":    {maker, gitlab.Options{Project: "acme/app", Scopes: providers.Strings{"read_moon"}}, nil, providers.Misconfigured, []string{"check scopes"}},
		"without api":     {r.jane.Token(fake.TokenSpec{Scopes: registryScopes}).Secret, gitlab.Options{Project: "acme/app"}, nil, providers.Denied, []string{"scope api"}},
	} {
		_, err := r.open(tt.o, r.withSecret(tt.secret)).Mint(t.Context(), r.request("j", tt.grants...))
		if err == nil {
			t.Errorf("%s: a token", name)
			continue
		}
		r.wantError(err, tt.kind, tt.want...)
	}
	if n := len(r.made()); n != 0 {
		t.Errorf("%d tokens are there", n)
	}
}

// Expiries are dates, in UTC: a token made in the evening ends the day after
// tomorrow, unless the instance lets none live so long.
func TestTokenMadeLateInTheDayLivesOnUnlessTheInstanceForbidsIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, _ := r.maker(gitlab.Options{})
	midnight := r.cloud.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	if c := r.mint(s, r.request("noon")); !c.ExpiresAt.Equal(midnight) {
		t.Errorf("at noon: ends %v", c.ExpiresAt)
	}
	r.cloud.Advance(8 * time.Hour)
	if c := r.mint(s, r.request("evening")); !c.ExpiresAt.Equal(midnight.AddDate(0, 0, 1)) {
		t.Errorf("in the evening: ends %v", c.ExpiresAt)
	}
	r.gl.Set(func(o *fake.Options) { o.MaxDays = 1 })
	if c := r.mint(s, r.request("limited")); !c.ExpiresAt.Equal(midnight) {
		t.Errorf("where a day is the limit: ends %v", c.ExpiresAt)
	}
	r.deps.Now = func() time.Time { return r.cloud.Now().In(time.FixedZone("far east", 13*3600)) } // tomorrow already
	s, _ = r.maker(gitlab.Options{})
	if c := r.mint(s, r.request("east")); !c.ExpiresAt.Equal(midnight) {
		t.Errorf("elsewhere on earth: ends %v", c.ExpiresAt)
	}
}

// H54.
func TestTokenMadeByAWrongClockEndsByGitLabs(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	for _, wrong := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		r.deps.Now = func() time.Time { return r.cloud.Now().Add(wrong) }
		s, _ := r.maker(gitlab.Options{})
		c := r.mint(s, r.request("j"))
		left := r.gl.Token(c.Secret.Reveal()).Expires().Sub(r.cloud.Now())
		if d := c.ExpiresAt.Sub(r.deps.Now()) - left; d.Abs() > time.Hour {
			t.Errorf("a clock %v off: lives %v longer than it does", wrong, d)
		}
	}
	r.deps.Now = func() time.Time { return r.cloud.Now().AddDate(0, 0, -2) }
	s, _ := r.maker(gitlab.Options{})
	_, err := s.Mint(t.Context(), r.request("late"))
	r.wantError(err, providers.Unavailable, "is over already", "clock")
	if err := s.(providers.Sweeper).Sweep(t.Context(), r.request("late")); err != nil {
		t.Error(err)
	}
}

func TestNativeTokenOfAJobIsItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s, pat := r.maker(gitlab.Options{})
	for _, tt := range []struct {
		grants []providers.Grant
		scope  string
	}{
		{nil, fake.API},
		{[]providers.Grant{pull("acme/app")}, fake.ReadAPI},
		{[]providers.Grant{{Repository: "acme/app", Access: providers.Delete}}, fake.API},
	} {
		n, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request("j", tt.grants...))
		if err != nil || !n.ForJob || n.Secret.Reveal() == pat.Secret || len(n.Env) != 1 || n.Env[0].Name != "GITLAB_TOKEN" || !n.Env[0].Value.Equal(n.Secret) {
			t.Fatalf("%v: %+v, %v", tt.grants, n, err)
		}
		if token := r.gl.Token(n.Secret.Reveal()); !slices.Equal(token.Scopes, []string{tt.scope}) || !strings.HasPrefix(token.Name, "regmint-j-") {
			t.Errorf("%v: %+v", tt.grants, token)
		}
	}
	_, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request("j", providers.Grant{Repository: "other/app", Access: providers.Delete}))
	r.wantError(err, providers.Denied, "outside of project acme/app")
	if err := s.(providers.Sweeper).Sweep(t.Context(), r.request("j")); err != nil || len(r.made()) != 0 {
		t.Errorf("%v, %d left", err, len(r.made()))
	}
	if n, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request("")); err != nil || n.ForJob || n.Secret.Reveal() != pat.Secret {
		t.Errorf("without a job: %+v, %v", n, err)
	}
	s, _ = r.maker(gitlab.Options{Project: "acme/app", Scopes: providers.Strings{fake.ReadRegistry}})
	for name, err := range map[string]error{
		"check": s.(providers.NativeChecker).CheckNative(t.Context(), r.request("j")),
		"mint":  func() error { _, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request("j")); return err }(),
	} {
		if err == nil {
			t.Errorf("%s: scopes without api", name)
			continue
		}
		r.wantError(err, providers.Denied, "needs the scope api", "read_registry", "add api to the account's scopes")
	}
}
