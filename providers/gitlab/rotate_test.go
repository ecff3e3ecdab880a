// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
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
	bot := r.app.Token(fake.TokenSpec{Scopes: rotatingScopes})
	s = r.open(gitlab.Options{}, r.withSecret(bot.Secret)).(providers.Rotator)
	if _, err = s.Rotate(t.Context(), providers.NewSecret(bot.Secret)); err != nil {
		r.wantError(err, providers.Misconfigured, "token_owner")
		if !bot.Active() {
			t.Error("it is dead")
		}
	}
}

func TestRotationKeepsAShortTokenAliveForTwoRotations(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	token := r.jane.Token(fake.TokenSpec{Scopes: rotatingScopes, Expires: r.cloud.Now().AddDate(0, 0, 7)})
	s := r.open(gitlab.Options{}, r.withSecret(token.Secret), func(a *providers.Account) { a.Rotate = providers.Duration(14 * 24 * time.Hour) })
	plan, err := s.(providers.Rotator).RotationPlan(t.Context(), providers.NewSecret(token.Secret))
	if err != nil || plan.Until.Sub(r.cloud.Now()) < 27*24*time.Hour {
		t.Errorf("%+v, %v", plan, err)
	}
}
