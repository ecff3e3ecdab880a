// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

var rotatingScopes = append([]string{fake.SelfRotate}, registryScopes...)

func TestRotationReplacesTheTokenOnceAndSaysWhatDies(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	for name, token := range map[string]*fake.Token{
		"personal":          r.jane.Token(fake.TokenSpec{Name: "ci", Scopes: rotatingScopes, Expires: r.cloud.Now().AddDate(0, 0, 30)}),
		"personal, api":     r.jane.Token(fake.TokenSpec{Scopes: []string{fake.API}, Expires: r.cloud.Now().AddDate(0, 0, 30)}),
		"of a project, api": r.app.Token(fake.TokenSpec{Scopes: []string{fake.API}, Expires: r.cloud.Now().AddDate(0, 0, 30)}),
	} {
		old := providers.NewSecret(token.Secret)
		s := r.open(gitlab.Options{}, r.withSecret(token.Secret)).(providers.Rotator)
		plan, err := s.RotationPlan(t.Context(), old)
		if err != nil || !strings.Contains(plan.What, token.Name) || !strings.Contains(plan.Dies, "at once") || !plan.ExpiresAt.Equal(token.Expires()) {
			t.Fatalf("%s: %+v, %v", name, plan, err)
		}
		if !token.Active() || s.Alive(t.Context(), old) != nil {
			t.Fatalf("%s: the plan changed something", name)
		}
		before := r.gl.Counts().Rotations
		got, err := s.Rotate(t.Context(), old)
		if err != nil || got.Secret.Equal(old) || !got.ExpiresAt.Equal(plan.Until) {
			t.Fatalf("%s: %+v, want until %v, %v", name, got, plan.Until, err)
		}
		if days := got.ExpiresAt.Sub(r.cloud.Now()) / (24 * time.Hour); days < 28 || days > 31 {
			t.Errorf("%s: the new one lives %d days", name, days)
		}
		r.wantError(s.Alive(t.Context(), old), providers.LoginRequired)
		if err := s.Alive(t.Context(), got.Secret); err != nil || r.gl.Counts().Rotations != before+1 || r.gl.Counts().FamiliesKilled != 0 {
			t.Errorf("%s: %v, %+v", name, err, r.gl.Counts())
		}
	}
}

func TestRotationWhoseAnswerIsLostIsNotSentAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	token := r.jane.Token(fake.TokenSpec{Scopes: rotatingScopes})
	old := providers.NewSecret(token.Secret)
	s := r.open(gitlab.Options{}, r.withSecret(token.Secret)).(providers.Rotator)
	r.gl.Lose(fake.Rotate, 1)
	_, err := s.Rotate(t.Context(), old)
	r.wantError(err, providers.Unavailable)
	r.wantError(s.Alive(t.Context(), old), providers.LoginRequired)
	if c := r.gl.Counts(); c.Rotations != 1 || c.FamiliesKilled != 0 {
		t.Errorf("%+v", c)
	}
	// Once more by mistake: the look before it finds the token dead, and the
	// family lives.
	_, err = s.Rotate(t.Context(), old)
	r.wantError(err, providers.LoginRequired)
	if c := r.gl.Counts(); c.Rotations != 1 || c.FamiliesKilled != 0 {
		t.Errorf("%+v", c)
	}
}

func TestTokenThatMayNotRotateIsRefusedWithTheScopeNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	token := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(token.Secret)).(providers.Rotator)
	_, err := s.RotationPlan(t.Context(), providers.NewSecret(token.Secret))
	r.wantError(err, providers.Denied, "self_rotate or api", "read_registry")
	if _, err = s.Rotate(t.Context(), providers.NewSecret(token.Secret)); err == nil || !token.Active() {
		t.Errorf("%v", err)
	}
}

func TestRotationOfAnAccountWithoutAHostSaysWhatToSet(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	token := r.jane.Token(fake.TokenSpec{Scopes: rotatingScopes})
	anywhere := func(a *providers.Account) {
		p, err := providers.ParsePattern("*.corp.example")
		if err != nil {
			t.Fatal(err)
		}
		a.Hosts = []providers.Pattern{p}
	}
	_, err := r.open(gitlab.Options{}, r.withSecret(token.Secret), anywhere).(providers.Rotator).RotationPlan(t.Context(), providers.NewSecret(token.Secret))
	r.wantError(err, providers.Misconfigured, "names no host", "set url")
	if _, err = r.open(gitlab.Options{URL: "https://gitlab.com"}, r.withSecret(token.Secret), anywhere).(providers.Rotator).RotationPlan(t.Context(), providers.NewSecret(token.Secret)); err != nil {
		t.Error(err)
	}
}

// A token of a project rotates by itself where it may say whose it is, by
// token_owner where it may not, and as a personal one does where neither is known.
func TestTokenOfAProjectRotatesItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	for name, tt := range map[string]struct {
		scopes []string
		owner  string
		path   string
	}{
		"by its user":     {[]string{fake.API}, "", fmt.Sprintf("/api/v4/projects/%d/access_tokens/self/rotate", r.app.ID)},
		"by token_owner":  {rotatingScopes, fmt.Sprintf("projects/%d", r.app.ID), fmt.Sprintf("/api/v4/projects/%d/access_tokens/self/rotate", r.app.ID)},
		"as any token is": {rotatingScopes, "", "/api/v4/personal_access_tokens/self/rotate"},
	} {
		bot := r.app.Token(fake.TokenSpec{Scopes: tt.scopes})
		s := r.open(gitlab.Options{TokenOwner: tt.owner}, r.withSecret(bot.Secret)).(providers.Rotator)
		got, err := s.Rotate(t.Context(), providers.NewSecret(bot.Secret))
		if err != nil || bot.Active() || s.Alive(t.Context(), got.Secret) != nil {
			t.Errorf("%s: %v", name, err)
		}
		all := r.cloud.Requests()
		if last := all[len(all)-2]; last.Path != tt.path {
			t.Errorf("%s: at %s", name, last.Path)
		}
	}
	bot := r.app.Token(fake.TokenSpec{Scopes: rotatingScopes})
	for owner, want := range map[string]string{"groups/1": "check token_owner", "": "set token_owner"} {
		s := r.open(gitlab.Options{TokenOwner: owner}, r.withSecret(bot.Secret)).(providers.Rotator)
		r.cloud.Inject(fakecloud.Fault{Host: "gitlab.com", Path: "/api/v4/personal_access_tokens/self/rotate", Status: 405, Body: `{"message":"405 Method Not Allowed"}`, Times: 1})
		_, err := s.Rotate(t.Context(), providers.NewSecret(bot.Secret))
		r.wantError(err, providers.Misconfigured, want)
		if !bot.Active() {
			t.Errorf("token_owner %q: it is dead", owner)
		}
		r.cloud.ClearFaults()
	}
}

// Whatever the hour of a rotation, the new token lives as many days.
func TestRotationsTakeNoDayAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	token := r.jane.Token(fake.TokenSpec{Scopes: rotatingScopes, Expires: r.cloud.Now().AddDate(0, 0, 30)})
	s := r.open(gitlab.Options{}, r.withSecret(token.Secret)).(providers.Rotator)
	secret := providers.NewSecret(token.Secret)
	for i := range 12 {
		r.cloud.Advance(time.Duration(24*5+[]int{11, -11, 3, 7}[i%4]) * time.Hour)
		got, err := s.Rotate(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		if days := got.ExpiresAt.Sub(r.cloud.Now().UTC().Truncate(24*time.Hour)) / (24 * time.Hour); days != 30 {
			t.Fatalf("rotation %d at %v: %d days", i, r.cloud.Now().UTC(), days)
		}
		secret = got.Secret
	}
}

func TestRotationBeyondTheLimitOfTheInstanceSaysWhatToSet(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	token := r.jane.Token(fake.TokenSpec{Scopes: rotatingScopes, Expires: r.cloud.Now().AddDate(0, 0, 90)})
	r.gl.Set(func(o *fake.Options) { o.MaxDays = 30 })
	s := r.open(gitlab.Options{}, r.withSecret(token.Secret)).(providers.Rotator)
	_, err := s.Rotate(t.Context(), providers.NewSecret(token.Secret))
	r.wantError(err, providers.Misconfigured, "Expiration date must be before", "set expires_in")
	if !token.Active() {
		t.Error("it is dead")
	}
	s = r.open(gitlab.Options{}, r.withSecret(token.Secret), func(a *providers.Account) { a.ExpiresIn = providers.Duration(30 * 24 * time.Hour) }).(providers.Rotator)
	got, err := s.Rotate(t.Context(), providers.NewSecret(token.Secret))
	if err != nil || got.ExpiresAt.Sub(r.cloud.Now()) > 30*24*time.Hour || got.ExpiresAt.Sub(r.cloud.Now()) < 29*24*time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRotationKeepsAShortTokenAliveForTwoRotations(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	token := r.jane.Token(fake.TokenSpec{Scopes: rotatingScopes, Expires: r.cloud.Now().AddDate(0, 0, 7)})
	s := r.open(gitlab.Options{}, r.withSecret(token.Secret), func(a *providers.Account) { a.Rotate = providers.Duration(14 * 24 * time.Hour) })
	plan, err := s.(providers.Rotator).RotationPlan(t.Context(), providers.NewSecret(token.Secret))
	if err != nil || plan.Until.Sub(r.cloud.Now()) < 28*24*time.Hour {
		t.Errorf("%+v, %v", plan, err)
	}
}
