// SPDX-License-Identifier: Apache-2.0

package dockerhub_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
)

func TestDeviceCodesAndRefreshTokensWorkOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const tenant = "https://login.docker.com/oauth/"
	code, m := r.form(tenant+"device/code", "client_id", dockerhub.CLIClient, "audience", "https://hub.docker.com", "scope", "openid offline_access")
	device, _ := m["device_code"].(string)
	if code != 200 || device == "" {
		t.Fatal(code, m)
	}
	poll := func() (int, map[string]any) {
		r.cloud.Advance(5 * time.Second)
		return r.form(tenant+"token", "client_id", dockerhub.CLIClient, "device_code", device, "grant_type", "urn:ietf:params:oauth:grant-type:device_code")
	}
	if _, m := poll(); m["error"] != "authorization_pending" {
		t.Errorf("%v", m)
	}
	if err := r.hub.Approve(r.hub.Codes()[0], r.bot); err != nil {
		t.Fatal(err)
	}
	_, m = poll()
	access, _ := m["access_token"].(string)
	refresh, _ := m["refresh_token"].(string)
	if _, again := poll(); again["error"] != "invalid_grant" {
		t.Errorf("a code twice: %v", again)
	}
	code, _, body := r.call(http.MethodPost, "https://hub.docker.com/v2/access-tokens/desktop-generate", access, "", "")
	if code != 201 || !strings.Contains(body, "dckr_pat_") {
		t.Errorf("%d %s", code, body)
	}
	for range 6 {
		r.call(http.MethodPost, "https://hub.docker.com/v2/access-tokens/desktop-generate", access, "", "")
	}
	if n := len(r.bot.Generated()); n != 5 {
		t.Errorf("%d generated tokens are kept", n)
	}
	renew := func(s string) map[string]any {
		_, m := r.form(tenant+"token", "client_id", dockerhub.CLIClient, "grant_type", "refresh_token", "refresh_token", s)
		return m
	}
	next, _ := renew(refresh)["refresh_token"].(string)
	if m := renew(refresh); m["error"] != "invalid_grant" {
		t.Errorf("a refresh token twice: %v", m)
	}
	if m := renew(next); m["error"] != "invalid_grant" {
		t.Errorf("its family lives: %v", m)
	}
}

func TestConnectionsAdmitTheirSubjectsAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	con := r.acme.Connect(dockerhub.Connection{Subject: "repo:acme/app:*", Scope: dockerhub.RepoWrite})
	gh := r.cloud.Issuer(fakecloud.GitHubIssuer)
	ask := func(token, id, life string) (int, string) {
		code, m := r.form("https://identity.docker.com/oauth/token", "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange",
			"subject_token_type", "urn:ietf:params:oauth:token-type:id_token", "subject_token", token, "connection_id", id, "expires_in", life)
		s, _ := m["access_token"].(string)
		return code, s
	}
	const aud = "https://identity.docker.com"
	good := gh.Sign("repo:acme/app:ref:refs/heads/main", aud, nil)
	for name, c := range map[string]struct {
		token, id, life string
		want            int
	}{
		"good":              {good, con.ID, "300", 200},
		"too short":         {good, con.ID, "60", 400},
		"too long":          {good, con.ID, "86400", 400},
		"another id":        {good, "0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21", "300", 404},
		"another job":       {gh.Sign("repo:acme/other:ref:refs/heads/main", aud, nil), con.ID, "300", 403},
		"another audience":  {gh.Sign("repo:acme/app:ref:refs/heads/main", "https://github.com/acme", nil), con.ID, "300", 401},
		"another CI system": {r.cloud.Issuer(fakecloud.GitLabIssuer).Sign("repo:acme/app:x", aud, nil), con.ID, "300", 401},
	} {
		if code, _ := ask(c.token, c.id, c.life); code != c.want {
			t.Errorf("%s: %d", name, code)
		}
	}
	_, token := ask(good, con.ID, "300")
	if got := r.push("acme/app:1", "acme", token); got != 0 {
		t.Errorf("push: %d", got)
	}
	if got := r.push("acme/app:1", "acme-bot", token); got != 401 {
		t.Errorf("under another name: %d", got)
	}
	r.cloud.Advance(6 * time.Minute)
	if got := r.pull("acme/app:1", "acme", token); got != 401 {
		t.Errorf("after its life: %d", got)
	}
}

// RFC 8628 section 3.5: who asks too soon waits five seconds longer from then on.
func TestWhoPollsTooSoonWaitsLonger(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, m := r.form("https://login.docker.com/oauth/device/code", "client_id", dockerhub.CLIClient, "audience", "https://hub.docker.com", "scope", "openid offline_access")
	device, _ := m["device_code"].(string)
	for i, c := range []struct {
		after time.Duration
		want  string
	}{{5 * time.Second, "authorization_pending"}, {time.Second, "slow_down"}, {5 * time.Second, "slow_down"}, {15 * time.Second, "authorization_pending"}} {
		r.cloud.Advance(c.after)
		_, m := r.form("https://login.docker.com/oauth/token", "client_id", dockerhub.CLIClient, "device_code", device, "grant_type", "urn:ietf:params:oauth:grant-type:device_code")
		if m["error"] != c.want {
			t.Errorf("poll %d: %v", i, m)
		}
	}
}

// What is for the API or the tenant does not log in to the registry.
func TestOnlyTokensForTheRegistryLogInToIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, _, body := r.call(http.MethodPost, "https://hub.docker.com/v2/auth/token", "", "application/json", `{"identifier":"acme-bot","secret":"correct-horse"}`)
	var api map[string]string
	if err := json.Unmarshal([]byte(body), &api); err != nil || api["access_token"] == "" {
		t.Fatal(body)
	}
	_, m := r.form("https://login.docker.com/oauth/device/code", "client_id", dockerhub.CLIClient, "audience", "https://hub.docker.com", "scope", "openid offline_access")
	if err := r.hub.Approve(r.hub.Codes()[0], r.bot); err != nil {
		t.Fatal(err)
	}
	device, _ := m["device_code"].(string)
	_, m = r.form("https://login.docker.com/oauth/token", "client_id", dockerhub.CLIClient, "device_code", device, "grant_type", "urn:ietf:params:oauth:grant-type:device_code")
	access, _ := m["access_token"].(string)
	refresh, _ := m["refresh_token"].(string)
	if access == "" || refresh == "" || r.bot.Sessions() != 1 {
		t.Fatal(m)
	}
	for name, secret := range map[string]string{"of the API": api["access_token"], "of the tenant": access, "to refresh": refresh} {
		if got := r.push("acme/app:1", "acme-bot", secret); got != 401 {
			t.Errorf("a token %s: %d", name, got)
		}
	}
	const generate = "https://hub.docker.com/v2/access-tokens/desktop-generate"
	r.bot.EndAccess()
	if code, _, _ := r.call(http.MethodPost, generate, access, "", ""); code != 401 {
		t.Errorf("an access token that was ended: %d", code)
	}
	_, m = r.form("https://login.docker.com/oauth/token", "client_id", dockerhub.CLIClient, "refresh_token", refresh, "grant_type", "refresh_token")
	next, _ := m["access_token"].(string)
	if code, _, _ := r.call(http.MethodPost, generate, next, "", ""); code != 201 {
		t.Errorf("the one after: %d", code)
	}
	last, _ := m["refresh_token"].(string)
	if code, _ := r.form("https://login.docker.com/oauth/revoke", "client_id", dockerhub.CLIClient, "token", last); code != 200 || r.bot.Sessions() != 0 {
		t.Errorf("revoked: %d, %d sessions", code, r.bot.Sessions())
	}
}

func TestAnswersCarryTheCloudsTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cloud.Advance(3 * time.Hour)
	for _, at := range []string{"https://auth.docker.io/token?service=registry.docker.io", "https://auth.docker.io/token", "https://hub.docker.com/v2/none", "https://login.docker.com/"} {
		_, h, _ := r.call(http.MethodGet, at, "", "", "")
		if d, err := http.ParseTime(h.Get("Date")); err != nil || r.cloud.Now().Sub(d) > time.Hour {
			t.Errorf("%s: %v", at, h.Get("Date"))
		}
	}
	if code, _, _ := r.call(http.MethodGet, "https://auth.docker.io/token?service=ghcr.io", "", "", ""); code != 400 {
		t.Errorf("a token for another service: %d", code)
	}
}
