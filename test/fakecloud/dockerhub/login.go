// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

type device struct {
	code, user string
	expires    time.Time
	polled     time.Time
	interval   time.Duration // between two polls; grows with each slow_down
	by         *User
	declined   bool
	spent      bool
}

// grant is an OAuth session of a user; every refresh makes the next token of
// its family.
type grant struct {
	family  *family
	user    *User
	used    bool
	revoked bool
}

type family struct{ dead bool }

// ErrNoCode is the answer to a user code that nobody was given, or that is over.
var ErrNoCode = errors.New("that code did not work")

// Approve is who entering the user code and agreeing.
func (h *Hub) Approve(userCode string, who *User) error {
	return h.decide(userCode, func(d *device) { d.by = who })
}

// Decline is somebody entering the user code and refusing.
func (h *Hub) Decline(userCode string) error {
	return h.decide(userCode, func(d *device) { d.declined = true })
}

// ExpireCode ends a user code before its time.
func (h *Hub) ExpireCode(userCode string) error {
	return h.decide(userCode, func(d *device) { d.expires = h.Cloud.Now() })
}

// SlowDown makes the next n polls answer slow_down.
func (h *Hub) SlowDown(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slow = n
}

// Codes are the user codes that wait for a person, the newest last.
func (h *Hub) Codes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, d := range h.devices {
		if h.waiting(d) {
			out = append(out, d.user)
		}
	}
	return out
}

func (h *Hub) waiting(d *device) bool {
	return d.by == nil && !d.declined && h.Cloud.Now().Before(d.expires)
}

func (h *Hub) decide(userCode string, f func(*device)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.devices {
		if d.user == userCode && h.waiting(d) {
			f(d)
			return nil
		}
	}
	return ErrNoCode
}

func (h *Hub) serveLogin() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/device/code", h.deviceCode)
	mux.HandleFunc("POST /oauth/token", h.oauthToken)
	mux.HandleFunc("POST /oauth/revoke", h.oauthRevoke)
	h.handle(LoginHost, mux)
}

func oauthError(w http.ResponseWriter, status int, code, description string) {
	fakecloud.WriteJSON(w, status, map[string]any{"error": code, "error_description": description})
}

// client checks the form every request of the tenant has.
func client(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	f, ok := form(r)
	switch {
	case !ok || f.Get("client_id") == "":
		oauthError(w, http.StatusBadRequest, "invalid_request", "Missing required parameter: client_id")
	case f.Get("client_id") != CLIClient:
		oauthError(w, http.StatusUnauthorized, "invalid_client", "Unknown client")
	default:
		return f, true
	}
	return nil, false
}

func (h *Hub) deviceCode(w http.ResponseWriter, r *http.Request) {
	f, ok := client(w, r)
	if !ok {
		return
	}
	if f.Get("audience") != audience {
		oauthError(w, http.StatusForbidden, "access_denied", "Service not found: "+f.Get("audience"))
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := rand.Text()
	d := &device{code: rand.Text() + rand.Text(), user: t[:4] + "-" + t[4:8], expires: h.Cloud.Now().Add(h.options.DeviceLife), interval: h.options.DeviceInterval}
	if !strings.Contains(" "+f.Get("scope")+" ", " offline_access ") {
		oauthError(w, http.StatusBadRequest, "invalid_request", "scope") // a fake's own rule: every client here wants to refresh
		return
	}
	h.devices = append(h.devices, d)
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"device_code": d.code, "user_code": d.user, "verification_uri": "https://" + LoginHost + "/activate",
		"verification_uri_complete": "https://" + LoginHost + "/activate?user_code=" + d.user,
		"expires_in":                int(h.options.DeviceLife / time.Second), "interval": int(h.options.DeviceInterval / time.Second),
	})
}

func (h *Hub) oauthToken(w http.ResponseWriter, r *http.Request) {
	f, ok := client(w, r)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch f.Get("grant_type") {
	case "urn:ietf:params:oauth:grant-type:device_code":
		h.deviceGrant(w, f)
	case "refresh_token":
		h.refreshGrant(w, f)
	default:
		oauthError(w, http.StatusForbidden, "unauthorized_client", "Grant type not allowed for the client.")
	}
}

func (h *Hub) deviceGrant(w http.ResponseWriter, f url.Values) {
	var d *device
	for _, x := range h.devices {
		if x.code == f.Get("device_code") {
			d = x
		}
	}
	now := h.Cloud.Now()
	switch {
	case d == nil || d.spent:
		oauthError(w, http.StatusForbidden, "invalid_grant", "Invalid or expired device code.")
	case d.declined:
		oauthError(w, http.StatusForbidden, "access_denied", "User cancelled the confirmation prompt.")
	case !now.Before(d.expires):
		oauthError(w, http.StatusForbidden, "expired_token", "The provided code has expired.")
	case h.slow > 0 || !d.polled.IsZero() && now.Sub(d.polled) < d.interval*9/10:
		h.slow = max(h.slow-1, 0)
		d.polled, d.interval = now, d.interval+5*time.Second // RFC 8628 section 3.5
		oauthError(w, http.StatusTooManyRequests, "slow_down", "You are polling faster than the specified interval.")
	case d.by == nil:
		d.polled = now
		oauthError(w, http.StatusForbidden, "authorization_pending", "User has yet to authorize device code.")
	default:
		d.spent = true
		h.oauthAnswer(w, d.by, &family{})
	}
}

// refreshGrant takes each refresh token once: whether the tenant rotates them
// is not known, so the fake does the stricter.
func (h *Hub) refreshGrant(w http.ResponseWriter, f url.Values) {
	g := h.grants[f.Get("refresh_token")]
	switch {
	case g == nil || g.revoked || g.family.dead:
		oauthError(w, http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
	case g.used:
		g.family.dead = true
		h.counts.ReusedRefresh++
		oauthError(w, http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
	default:
		g.used = true
		h.counts.Refreshes++
		h.oauthAnswer(w, g.user, g.family)
	}
}

func (h *Hub) oauthAnswer(w http.ResponseWriter, u *User, f *family) {
	refresh := "v1." + rand.Text() + rand.Text()
	h.grants[refresh] = &grant{family: f, user: u}
	life := h.options.AccessLife
	u.session++
	access := h.sign(jwt.MapClaims{
		"iss": "https://" + LoginHost + "/", "aud": []string{audience, "https://docker-prod.us.auth0.com/userinfo"}, "sub": "auth0|" + u.UUID,
		"azp": CLIClient, "scope": "openid offline_access",
		audience: map[string]any{"username": u.Name, "uuid": u.UUID, "email": u.Name + "@example.com", "source": "auth0|" + u.UUID, "session_id": fmt.Sprint(u.session)},
	}, life+h.options.Grace)
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"access_token": access, "id_token": h.sign(jwt.MapClaims{"iss": "https://" + LoginHost + "/", "aud": CLIClient, "sub": u.UUID}, life),
		"refresh_token": refresh, "scope": "openid offline_access", "expires_in": int(life / time.Second), "token_type": "Bearer",
	})
}

func (h *Hub) oauthRevoke(w http.ResponseWriter, r *http.Request) {
	f, ok := client(w, r)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.grants[f.Get("token")]; g != nil {
		g.revoked, g.family.dead = true, true
	}
	w.WriteHeader(http.StatusOK)
}

// The bounds of what a federated token's life may be asked for.
const (
	minFederated = 300
	maxFederated = 21600
)

// serveIdentity is the exchange of CI identity tokens, as docker/login-action
// 4.5 asks for it. Of the answer only access_token is known for certain, of
// refusals only their statuses.
func (h *Hub) serveIdentity() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		f, ok := form(r)
		if !ok || f.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" ||
			f.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:id_token" {
			oauthError(w, http.StatusBadRequest, "invalid_request", "unsupported request")
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		con := h.connects[f.Get("connection_id")]
		claims, err := h.Cloud.Identity(f.Get("subject_token"), "https://"+IdentityHost)
		life := minFederated
		if s := f.Get("expires_in"); s != "" {
			if life, _ = strconv.Atoi(s); life < minFederated || life > maxFederated {
				oauthError(w, http.StatusBadRequest, "invalid_request", "expires_in must be between 300 and 21600")
				return
			}
		}
		switch {
		case con == nil:
			oauthError(w, http.StatusNotFound, "invalid_request", "connection not found")
		case con.inactive:
			oauthError(w, http.StatusForbidden, "access_denied", "connection is not active")
		case err != nil || claims["iss"] != fakecloud.GitHubIssuer:
			oauthError(w, http.StatusUnauthorized, "invalid_grant", "subject token is not valid")
		case !con.admits(text(claims["sub"])):
			oauthError(w, http.StatusForbidden, "access_denied", "no ruleset matches the subject")
		default:
			h.counts.Federated++
			d := time.Duration(life) * time.Second
			if h.options.FederatedLife != 0 {
				d = h.options.FederatedLife
			}
			fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
				"access_token": h.sign(jwt.MapClaims{"iss": "https://" + IdentityHost, "aud": "docker", "sub": con.org.Name, "connection_id": con.ID}, d+h.options.Grace),
				"token_type":   "Bearer", "expires_in": int(d / time.Second), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
			})
		}
	})
	h.handle(IdentityHost, mux)
}
