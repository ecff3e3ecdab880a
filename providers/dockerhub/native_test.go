// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
	hub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

func TestNativeTokensDeleteTags(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, s := range map[string]func() *source{
		"password":     func() *source { return r.open(r.as("acme-bot", "correct-horse-battery")) },
		"organisation": func() *source { return r.open(r.as("acme", r.acme.OAT(hub.RepoAdmin).Secret)) },
		"device login": func() *source { return r.loggedIn() },
	} {
		n, err := s().MintNative(t.Context(), request(t, "acme/app=delete"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !n.Wider || len(n.Env) != 1 || n.Env[0].Name != "WERF_REPO_DOCKER_HUB_TOKEN" || n.Env[0].Value != n.Secret || !n.ExpiresAt.After(r.cloud.Now()) {
			t.Errorf("%s: %+v", name, n)
		}
		if name != "device login" && n.Life() > 10*time.Minute {
			t.Errorf("%s lives %s", name, n.Life())
		}
		// There is no such tag; who may not delete would read 401 or 403.
		for _, scheme := range []string{"Bearer", "JWT"} {
			if got := r.deletes("acme/app/tags/none", scheme, n.Secret.Reveal()); got != http.StatusNotFound {
				t.Errorf("%s, %s: HTTP %d", name, scheme, got)
			}
		}
	}
}

func TestAPersonalAccessTokenIsRefusedBeforeItFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pat := r.bot.PAT(hub.RepoAdmin)
	s := r.open(r.as("acme-bot", pat.Secret))
	for _, q := range []providers.Request{request(t), request(t, "acme/app=delete"), request(t, "acme/app=pull")} {
		_, err := s.MintNative(t.Context(), q)
		r.fails(err, providers.Denied, "deletes nothing for a personal access token", "organisation access token")
	}
	r.fails(s.CheckNative(t.Context(), request(t)), providers.Denied, "personal access token")
	if n := r.calls(hub.APIHost, "/"); n != 0 {
		t.Errorf("%d requests to the API", n)
	}
	// Older tokens are UUIDs.
	old := r.open(r.as("acme-bot", "0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21"))
	r.fails(old.CheckNative(t.Context(), request(t)), providers.Denied, "personal access token")
}

func TestTwoFactorAuthenticationNeedsACode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bot.TwoFactor("123456")
	a := r.as("acme-bot", "correct-horse-battery")
	_, err := r.open(a).MintNative(t.Context(), request(t))
	r.fails(err, providers.LoginRequired, "acme-bot has two-factor authentication", "two_factor_code")
	a.Options = &Options{TwoFactorCode: providers.SecretRef{Scheme: "exec", Value: "/usr/bin/totp"}}
	r.secrets["exec:/usr/bin/totp"] = "123456"
	n, err := r.open(a).MintNative(t.Context(), request(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.deletes("acme/app/tags/none", "Bearer", n.Secret.Reveal()); got != http.StatusNotFound {
		t.Errorf("HTTP %d", got)
	}
	r.secrets["exec:/usr/bin/totp"] = "654321"
	_, err = r.open(a).MintNative(t.Context(), request(t))
	r.fails(err, providers.LoginRequired, "is refused")
}

// The API's own words of 2020 and of 2022, should it say so where we did not
// expect it.
func TestTheAPIsRefusalOfPersonalTokensIsPlain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, text := range []string{"access to the resource is forbidden with personal access token", "access is forbidden with a JWT issued from a personal access token"} {
		r.cloud.ClearFaults()
		r.cloud.Inject(fakecloud.Fault{Host: hub.APIHost, Status: http.StatusForbidden, Body: `{"detail":"` + text + `"}`})
		_, err := r.open(r.as("acme-bot", "correct-horse-battery")).MintNative(t.Context(), request(t, "acme/app=delete"))
		r.fails(err, providers.Denied, "deletes nothing for a personal access token", "regmint login docker.io")
	}
}

func TestAnAPITokenThatIsOverOnArrivalIsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hub.Set(func(o *hub.Options) { o.APILife = -time.Minute })
	_, err := r.open(r.as("acme", r.acme.OAT(hub.RepoAdmin).Secret)).MintNative(t.Context(), request(t))
	r.fails(err, providers.Unavailable, "expired already")
}

func TestAPIRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.open(r.as("acme-bot", "wrong-horse-wrong-battery")).MintNative(t.Context(), request(t))
	r.fails(err, providers.LoginRequired, "Incorrect authentication credentials", "regmint login docker.io")
	oat := r.acme.OAT(hub.RepoAdmin)
	oat.Revoke()
	_, err = r.open(r.as("acme", oat.Secret)).MintNative(t.Context(), request(t))
	r.fails(err, providers.LoginRequired)
	if n := r.calls(hub.APIHost, "/v2/users/login"); n != 1 {
		t.Errorf("a token was shown to the endpoint of passwords: %d", n)
	}
	for text, hint := range map[string]string{
		"SSO is enforced for this organisation": "access tokens alone", "Please use single sign-on.": "access tokens alone",
		"no account is associated with this name": "; run: regmint login",
	} {
		r.cloud.Inject(fakecloud.Fault{Host: hub.APIHost, Status: http.StatusUnauthorized, Body: `{"detail":"` + text + `"}`})
		_, err = r.open(r.as("acme-bot", "correct-horse-battery")).MintNative(t.Context(), request(t))
		r.fails(err, providers.LoginRequired, text, hint)
		r.cloud.ClearFaults()
	}
	r.acme.EnforceSSO()
	_, err = r.open(r.as("acme-bot", "correct-horse-battery")).MintNative(t.Context(), request(t))
	r.fails(err, providers.LoginRequired)
	con := r.acme.Connect(hub.Connection{Subject: "*", Scope: hub.RepoWrite})
	_, err = r.open(r.connected(con)).MintNative(t.Context(), request(t, "acme/app=pull"))
	r.fails(err, providers.Denied, "not for Docker Hub's API")
}

// The API's X-Retry-After is a time of Unix, not a number of seconds.
func TestALimitOfTheAPISaysUntilWhen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	until := r.cloud.Now().Add(7 * time.Minute).Truncate(time.Second)
	r.hub.LimitAPI(0, until)
	_, err := r.open(r.as("acme", r.acme.OAT(hub.RepoAdmin).Secret)).MintNative(t.Context(), request(t))
	r.fails(err, providers.Unavailable, "429", "not before "+until.UTC().Format(time.RFC3339))
	if e, ok := errors.AsType[*providers.Error](err); !ok || e.RetryAfter < 6*time.Minute || e.RetryAfter > 7*time.Minute {
		t.Errorf("retry after: %+v", err)
	}
}

func TestReadingThePullLimitCostsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.as("acme-bot", r.bot.PAT(hub.RepoRead).Secret))
	c := r.works(s)
	if l, err := s.RateLimit(t.Context(), request(t), c); err != nil || !l.Unlimited || l.Who != "acme-bot" {
		t.Errorf("unlimited: %+v %v", l, err)
	}
	r.hub.LimitPulls(100)
	for range 5 {
		l, err := s.RateLimit(t.Context(), request(t), c)
		if err != nil || l.Limit != 100 || l.Remaining != 100 || l.Window != 6*time.Hour || l.Who != "acme-bot" || l.Unlimited {
			t.Fatalf("%+v %v", l, err)
		}
	}
	l, err := s.RateLimit(t.Context(), request(t), providers.Credential{})
	if err != nil || l.Who != "192.0.2.1" {
		t.Errorf("nobody's limit: %+v %v", l, err)
	}
	dead := r.bot.PAT(hub.RepoRead)
	dead.Revoke()
	c.Secret = providers.NewSecret(dead.Secret)
	_, err = s.RateLimit(t.Context(), request(t), c)
	r.fails(err, providers.LoginRequired)
}

func TestLimitHeadersAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	h := func(kv ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			out.Set(kv[i], kv[i+1])
		}
		return out
	}
	for name, c := range map[string]struct {
		h    http.Header
		want providers.RateLimit
	}{
		"none":         {h(), providers.RateLimit{Unlimited: true, Who: "u"}},
		"no window":    {h("ratelimit-limit", "100", "ratelimit-remaining", "7"), providers.RateLimit{Limit: 100, Remaining: 7, Who: "u"}},
		"nothing left": {h("ratelimit-limit", "10;w=3600", "ratelimit-remaining", "0;w=3600"), providers.RateLimit{Limit: 10, Window: time.Hour, Who: "u"}},
		"reset":        {h("ratelimit-limit", "10", "ratelimit-remaining", "1", "ratelimit-reset", "60"), providers.RateLimit{Limit: 10, Remaining: 1, ResetsAt: now.Add(time.Minute), Who: "u"}},
		"reset epoch":  {h("ratelimit-limit", "10", "ratelimit-remaining", "1", "ratelimit-reset", "1800000060"), providers.RateLimit{Limit: 10, Remaining: 1, ResetsAt: now.Add(time.Minute), Who: "u"}},
		"years away":   {h("ratelimit-limit", "10", "ratelimit-remaining", "1", "ratelimit-reset", "1800000060000"), providers.RateLimit{Limit: 10, Remaining: 1, Who: "u"}},
		"over":         {h("ratelimit-limit", "10", "ratelimit-remaining", "1", "ratelimit-reset", "1700000000"), providers.RateLimit{Limit: 10, Remaining: 1, Who: "u"}},
		"more left":    {h("ratelimit-limit", "10", "ratelimit-remaining", "11"), providers.RateLimit{Limit: 10, Remaining: 10, Who: "u"}},
		"odd window":   {h("ratelimit-limit", "10;w=;x;w=-5", "ratelimit-remaining", "1;w=9999999999999"), providers.RateLimit{Limit: 10, Remaining: 1, Who: "u"}},
	} {
		if got, ok := limitOf(c.h, "u", now); !ok || !got.ResetsAt.Equal(c.want.ResetsAt) || got.Limit != c.want.Limit || got.Remaining != c.want.Remaining ||
			got.Window != c.want.Window || got.Unlimited != c.want.Unlimited || got.Who != c.want.Who {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What cannot be read is neither "no limit" nor "nothing left".
func TestALimitThatMakesNoSenseIsNotToldAsOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.as("acme-bot", r.bot.PAT(hub.RepoRead).Secret))
	c := r.works(s)
	for name, a := range map[string]struct {
		status int
		header http.Header
	}{
		"no number":      {200, http.Header{"Ratelimit-Limit": {"many"}, "Ratelimit-Remaining": {"7"}}},
		"empty":          {200, http.Header{"Ratelimit-Limit": {""}, "Ratelimit-Remaining": {""}}},
		"negative":       {200, http.Header{"Ratelimit-Limit": {"100;w=21600"}, "Ratelimit-Remaining": {"-1"}}},
		"nothing of it":  {200, http.Header{"Ratelimit-Limit": {"100;w=21600"}}},
		"no limit named": {200, http.Header{"Ratelimit-Remaining": {"100"}}},
		"huge":           {200, http.Header{"Ratelimit-Limit": {"99999999999999999999"}, "Ratelimit-Remaining": {"1"}}},
		"429 without":    {429, http.Header{"Retry-After": {"30"}}},
	} {
		r.hub.AnswerLimits(a.status, a.header)
		if l, err := s.RateLimit(t.Context(), request(t), c); err == nil {
			t.Errorf("%s: %+v", name, l)
		} else {
			r.fails(err, providers.Unavailable)
		}
	}
	r.hub.AnswerLimits(429, http.Header{"Ratelimit-Limit": {"100;w=21600"}, "Ratelimit-Remaining": {"0;w=21600"}})
	if l, err := s.RateLimit(t.Context(), request(t), c); err != nil || l.Limit != 100 || l.Remaining != 0 || l.Unlimited {
		t.Errorf("nothing left: %+v %v", l, err)
	}
}

// H53: an answer without a token says why where it can.
func TestAnAnswerWithoutATokenSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.as("acme", r.acme.OAT(hub.RepoAdmin).Secret))
	r.cloud.Inject(fakecloud.Fault{Host: hub.APIHost, Status: http.StatusOK, Body: `{"detail":"2FA is required"}`})
	_, err := s.MintNative(t.Context(), request(t))
	r.fails(err, providers.Unavailable, "2FA is required")
	r.cloud.ClearFaults()
	r.cloud.Inject(fakecloud.Fault{Host: hub.IdentityHost, Status: http.StatusOK, Body: `{"error":"no_seats","error_description":"no seats are left"}`})
	r.runner(subject)
	_, err = r.open(r.connected(r.acme.Connect(hub.Connection{Subject: "*"}))).Mint(t.Context(), request(t))
	r.fails(err, providers.Unavailable, "no seats are left")
}
