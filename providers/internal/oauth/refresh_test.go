// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oauth"
)

var ref = providers.SecretRef{Scheme: "keyring", Value: "x"}

func (w *world) login(t *testing.T) {
	t.Helper()
	tok, err := w.c.Device(t.Context(), &person{}, "Example")
	if err != nil {
		t.Fatal(err)
	}
	w.kept = w.c.Keep(tok, "jane").Secret()
}

func TestFiftyThatNeedAFreshTokenAreOneRefresh(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(7*time.Hour + 55*time.Minute)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p, err := w.c.Fresh(t.Context(), w.d, ref, 0)
			if err != nil || p.Access != canary+"access1" || p.User != "jane" || !slices.Equal(p.Scopes, []string{"read", "write"}) {
				t.Errorf("%v %v", p.ExpiresAt, err)
			}
		})
	}
	wg.Wait()
	if w.refreshes != 1 || w.killed {
		t.Errorf("%d refreshes, family dead: %v", w.refreshes, w.killed)
	}
}

func TestPairThatCannotBeSavedIsNotUsed(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(9 * time.Hour)
	w.d.Save = func(context.Context, providers.SecretRef, providers.Secret) error { return errors.New("disk full") }
	if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err == nil || strings.Contains(p.Access, "access1") || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("%v", err)
	}
}

func TestRefreshThatIsRefusedOrLostIsNotRepeated(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(9 * time.Hour)
	w.live = "another"
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.LoginRequired || w.refreshes != 1 || strings.Contains(err.Error(), canary) {
		t.Errorf("refused: %v, %d refreshes", err, w.refreshes)
	}
	w = newWorld(t)
	w.login(t)
	w.now = w.now.Add(7*time.Hour + 55*time.Minute)
	w.live = "another"
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.LoginRequired || w.refreshes != 1 {
		t.Errorf("refused while the access token would live on: %v, %d refreshes", err, w.refreshes)
	}
	w = newWorld(t)
	w.login(t)
	w.hangUp = true
	w.now = w.now.Add(7*time.Hour + 55*time.Minute)
	if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil || p.Access != canary+"access0" || w.refreshes != 1 {
		t.Errorf("lost while the old one lives: %v, %d refreshes", err, w.refreshes)
	}
	w = newWorld(t)
	w.login(t)
	w.now = w.now.Add(200 * 24 * time.Hour)
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.LoginRequired || w.refreshes != 0 {
		t.Errorf("past the refresh token's end: %v, %d refreshes", err, w.refreshes)
	}
}

func TestPairIsNotSentToAnotherServer(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.c.TokenURL += "/else"
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("%v", err)
	}
	w.c.TokenURL = strings.TrimSuffix(w.c.TokenURL, "/else")
	w.c.ClientID = "other"
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("another application: %v", err)
	}
	p, _ := oauth.ParsePair(w.kept)
	if err := w.c.End(t.Context(), "https://as.example/revoke", p); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("ended at another application: %v", err)
	}
	w.kept = providers.NewSecret("a password")
	if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("%v", err)
	}
}

// Processes of one user that all see the same dead token make one refresh.
func TestFiftyThatFindATokenDeadAreOneRefresh(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if p, err := w.c.Renew(t.Context(), w.d, ref, canary+"access0"); err != nil || p.Access != canary+"access1" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if w.refreshes != 1 || w.killed {
		t.Errorf("%d refreshes, family dead: %v", w.refreshes, w.killed)
	}
}

// Tokens that live for less than is wanted of them are not refreshed each time.
func TestTokensOfMinutesAreNotRefreshedByEveryCall(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.life = "300"
	w.now = w.now.Add(9 * time.Hour)
	for range 20 {
		if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil {
			t.Fatal(err)
		}
	}
	if w.refreshes != 1 {
		t.Errorf("%d refreshes", w.refreshes)
	}
	w.now = w.now.Add(4 * time.Minute)
	if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil || p.Access != canary+"access2" {
		t.Errorf("near its end: %v", err)
	}
}

// A server that is busy, or that does not know us for now, says nothing about
// the login.
func TestABusyServerDoesNotEndALogin(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		w := newWorld(t)
		w.login(t)
		w.busy = status
		w.now = w.now.Add(7*time.Hour + 55*time.Minute)
		if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil || p.Access != canary+"access0" {
			t.Errorf("%d while it lives: %v", status, err)
		}
		w.now = w.now.Add(time.Hour)
		_, err := w.c.Fresh(t.Context(), w.d, ref, 0)
		e, ok := errors.AsType[*providers.Error](err)
		if !ok || e.Kind != providers.Unavailable || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "regmint login") {
			t.Errorf("%d: %v", status, err)
		} else if status != http.StatusInternalServerError && e.RetryAfter != 37*time.Second {
			t.Errorf("%d: again after %s", status, e.RetryAfter)
		}
		if w.refreshes != 2 {
			t.Errorf("%d: %d requests", status, w.refreshes)
		}
		w.busy = 0
		if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil || p.Access != canary+"access3" {
			t.Errorf("after %d: %v", status, err)
		}
	}
}

func TestARefreshTokenThatIsNotReplacedGoesOn(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.keeps = true
	for i := range 3 {
		w.now = w.now.Add(9 * time.Hour)
		p, err := w.c.Fresh(t.Context(), w.d, ref, 0)
		if err != nil || p.Refresh != canary+"refresh0" || w.refreshes != i+1 || p.RefreshExpiresAt.IsZero() {
			t.Fatalf("%v, %d refreshes", err, w.refreshes)
		}
	}
}

// From the moment a refresh is sent the pair before is dead: its successor is
// kept though nobody waits for it any more.
func TestARefreshIsKeptThoughItsCallerLeft(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(9 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	save := w.d.Save
	w.d.Save = func(c context.Context, r providers.SecretRef, s providers.Secret) error {
		cancel()
		if c.Err() != nil {
			return c.Err()
		}
		return save(c, r, s)
	}
	if p, err := w.c.Fresh(ctx, w.d, ref, 0); err != nil || p.Access != canary+"access1" {
		t.Errorf("%v", err)
	}
	if p, ok := oauth.ParsePair(w.kept); !ok || p.Access != canary+"access1" {
		t.Error("the new pair is lost")
	}
	w.now = w.now.Add(9 * time.Hour)
	if _, err := w.c.Fresh(ctx, w.d, ref, 0); providers.KindOf(err) != providers.Unavailable || w.refreshes != 1 {
		t.Errorf("a caller that has left starts one: %v", err)
	}
}

// Whoever logs in anew or out while a refresh is under way has the last word.
func TestARefreshDoesNotUndoALoginOrALogout(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	old, _ := oauth.ParsePair(w.kept)
	w.now = w.now.Add(9 * time.Hour)
	set := func(s providers.Secret) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.kept = s
	}
	other := old
	other.Access, other.Refresh, other.ExpiresAt = "of-the-new-login", "its-refresh-token", w.now.Add(time.Hour)
	w.during = func() { set(other.Secret()) }
	if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil || p.Access != "of-the-new-login" || !w.kept.Equal(other.Secret()) {
		t.Errorf("a login meanwhile: %v", err)
	}
	for _, left := range []providers.Secret{{}, providers.NewSecret("a password")} {
		w = newWorld(t)
		w.login(t)
		w.now = w.now.Add(9 * time.Hour)
		w.during = func() { set(left) }
		if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); err == nil || providers.KindOf(err) == providers.Unavailable || !w.kept.Equal(left) {
			t.Errorf("a logout meanwhile: %v", err)
		}
	}
}

func TestAStoreThatHiccupsCostsNoLogin(t *testing.T) {
	w := newWorld(t)
	w.login(t)
	w.now = w.now.Add(9 * time.Hour)
	save, tries := w.d.Save, 0
	w.d.Save = func(c context.Context, r providers.SecretRef, s providers.Secret) error {
		if tries++; tries < 3 {
			return errors.New("the keychain does not answer")
		}
		return save(c, r, s)
	}
	if p, err := w.c.Fresh(t.Context(), w.d, ref, 0); err != nil || p.Access != canary+"access1" || w.refreshes != 1 {
		t.Errorf("%v, %d refreshes", err, w.refreshes)
	}
}

func TestWhatAServerRepeatsIsNotShown(t *testing.T) {
	for name, code := range map[string]string{
		"as it is": canary + "refresh0", "in a query": url.QueryEscape(canary + "refresh0"), "a part": canary[:20],
	} {
		w := newWorld(t)
		w.login(t)
		w.now = w.now.Add(9 * time.Hour)
		w.live, w.code = "another", code
		_, err := w.c.Fresh(t.Context(), w.d, ref, 0)
		if err == nil || len(httpxtest.Leaks(err.Error(), canary)) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWorld(t)
	w.login(t)
	p, _ := oauth.ParsePair(w.kept)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "pair", p, "more", &p)
	if s := fmt.Sprintf("%v %+v %#v %s", p, p, p, &p) + log.String(); strings.Contains(s, canary) {
		t.Errorf("printed: %s", s)
	}
}

// An expiry that is over already is no token without one.
func TestATokenWithoutALifeIsRefused(t *testing.T) {
	for _, life := range []string{"0", "-1", `"-1"`} {
		w := newWorld(t)
		w.login(t)
		w.life = life
		w.now = w.now.Add(9 * time.Hour)
		if _, err := w.c.Fresh(t.Context(), w.d, ref, 0); err == nil || !strings.Contains(err.Error(), "expired already") {
			t.Errorf("expires_in %s: %v", life, err)
		}
	}
}
