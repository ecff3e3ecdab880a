// SPDX-License-Identifier: Apache-2.0

package github

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// client is an application that people log in to.
type client struct {
	id     string
	pairs  bool // user tokens expire and have refresh tokens
	device bool
	app    *App // a GitHub App; nil: an OAuth app
}

// device is a device authorization.
type device struct {
	code, user string
	client     *client
	scopes     []string
	expires    time.Time
	interval   time.Duration
	polled     time.Time
	by         *User
	denied     bool
	used       bool
}

// Codes lists the user codes that wait for somebody.
func (g *GitHub) Codes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, d := range g.devices {
		if d.by == nil && !d.denied && d.expires.After(g.Cloud.Now()) {
			out = append(out, d.user)
		}
	}
	return out
}

// Approve enters a code as u; Deny declines.
func (g *GitHub) Approve(code string, u *User) bool {
	return g.decide(code, func(d *device) { d.by = u })
}

// Deny declines the login of a code.
func (g *GitHub) Deny(code string) bool { return g.decide(code, func(d *device) { d.denied = true }) }

func (g *GitHub) decide(code string, f func(*device)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.devices {
		if d.user == code && d.expires.After(g.Cloud.Now()) {
			f(d)
			return true
		}
	}
	return false
}

// web is github.com itself.
func (g *GitHub) web() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/device/code", g.deviceCode)
	mux.HandleFunc("POST /login/oauth/access_token", g.accessToken)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, "<!DOCTYPE html><html><title>Page not found</title></html>")
	})
	return mux
}

// reply answers form-encoded unless JSON is accepted.
func reply(w http.ResponseWriter, r *http.Request, status int, m map[string]any) {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		fakecloud.WriteJSON(w, status, m)
		return
	}
	v := url.Values{}
	for k, x := range m {
		v.Set(k, fmt.Sprint(x))
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, v.Encode())
}

// refuse is an OAuth error: status 200, the code in the body.
func refuse(w http.ResponseWriter, r *http.Request, code, text string, more map[string]any) {
	m := map[string]any{"error": code, "error_description": text, "error_uri": "https://docs.github.com/developers/apps/authorizing-oauth-apps#error-codes"}
	for k, v := range more {
		m[k] = v
	}
	reply(w, r, http.StatusOK, m)
}

func (g *GitHub) deviceCode(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[r.PostForm.Get("client_id")]
	switch {
	case c == nil:
		reply(w, r, http.StatusNotFound, map[string]any{"error": "Not Found"})
		return
	case !c.device:
		reply(w, r, http.StatusBadRequest, map[string]any{
			"error": "device_flow_disabled", "error_description": "Device Flow must be explicitly enabled for this App",
		})
		return
	}
	d := &device{
		code: strings.ToLower(random(40)), user: random(4) + "-" + random(4), client: c, scopes: strings.Fields(r.PostForm.Get("scope")),
		expires: g.Cloud.Now().Add(g.options.DeviceLife), interval: g.options.DeviceInterval,
	}
	g.devices = append(g.devices, d)
	reply(w, r, http.StatusOK, map[string]any{
		"device_code": d.code, "user_code": d.user, "verification_uri": "https://" + g.options.Host + "/login/device",
		"expires_in": int(g.options.DeviceLife.Seconds()), "interval": int(d.interval.Seconds()),
	})
}

func (g *GitHub) accessToken(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[r.PostForm.Get("client_id")]
	switch {
	case c == nil:
		refuse(w, r, "incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.", nil)
	case r.PostForm.Get("grant_type") == "urn:ietf:params:oauth:grant-type:device_code":
		g.poll(w, r, c)
	case r.PostForm.Get("grant_type") == "refresh_token":
		g.refresh(w, r, c)
	default:
		refuse(w, r, "unsupported_grant_type", "The grant type must be urn:ietf:params:oauth:grant-type:device_code.", nil)
	}
}

func (g *GitHub) poll(w http.ResponseWriter, r *http.Request, c *client) {
	var d *device
	for _, x := range g.devices {
		if x.code == r.PostForm.Get("device_code") && x.client == c && !x.used {
			d = x
		}
	}
	now := g.Cloud.Now()
	switch {
	case d == nil:
		refuse(w, r, "incorrect_device_code", "The device_code provided is not valid.", nil)
		return
	case !d.expires.After(now):
		refuse(w, r, "expired_token", "The device_code has expired.", nil)
		return
	case !d.polled.IsZero() && now.Sub(d.polled) < d.interval-50*time.Millisecond:
		d.interval += 5 * time.Second
		d.polled = now
		g.counts.SlowDowns++
		refuse(w, r, "slow_down", "Too many requests have been made in the same timeframe.", map[string]any{"interval": int(d.interval.Seconds())})
		return
	}
	d.polled = now
	switch {
	case d.denied:
		refuse(w, r, "access_denied", "The authorization request was denied.", nil)
	case d.by == nil:
		refuse(w, r, "authorization_pending", "The authorization request is still pending.", nil)
	default:
		d.used = true
		g.counts.Logins++
		g.grant(w, r, c, d.by, d.scopes)
	}
}

// grant answers a token, or a pair.
func (g *GitHub) grant(w http.ResponseWriter, r *http.Request, c *client, u *User, scopes []string) {
	if !c.pairs {
		t := g.keep(&Token{Secret: "gho_" + random(36), kind: oauthToken, user: u, scopes: scopes, client: c})
		reply(w, r, http.StatusOK, map[string]any{"access_token": t.Secret, "token_type": "bearer", "scope": strings.Join(scopes, ",")})
		return
	}
	access := g.keep(&Token{Secret: "ghu_" + random(36), kind: userToken, user: u, client: c, expires: g.Cloud.Now().Add(g.options.AccessLife + g.options.Grace)})
	fresh := g.keep(&Token{Secret: "ghr_" + random(76), kind: userToken, user: u, client: c, expires: g.Cloud.Now().Add(g.options.RefreshLife)})
	fresh.repos = []string{access.Secret} // the access token that dies with it
	reply(w, r, http.StatusOK, map[string]any{
		"access_token": access.Secret, "expires_in": int(g.options.AccessLife.Seconds()), "refresh_token": fresh.Secret,
		"refresh_token_expires_in": int(g.options.RefreshLife.Seconds()), "scope": "", "token_type": "bearer",
	})
}

func (g *GitHub) refresh(w http.ResponseWriter, r *http.Request, c *client) {
	old := g.tokens[r.PostForm.Get("refresh_token")]
	if old == nil || !strings.HasPrefix(old.Secret, "ghr_") || old.client != c || !old.live() {
		if old != nil && old.revoked {
			g.counts.ReusedRefresh++
		}
		refuse(w, r, "bad_refresh_token", "The refresh token passed is incorrect or expired.", nil)
		return
	}
	old.revoked = true
	g.tokens[old.repos[0]].revoked = true
	g.counts.Refreshes++
	if g.lost > 0 {
		g.lost--
		g.grant(discard{}, r, c, old.user, nil)
		panic(http.ErrAbortHandler)
	}
	g.grant(w, r, c, old.user, nil)
}

// discard is an answer that is lost.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
