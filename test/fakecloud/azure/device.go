// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

type device struct {
	code, user string
	client     string
	scopes     []string
	tenant     *Tenant // nil: organizations
	expires    time.Time
	by         *Principal
	declined   bool
	spent      bool
}

// ErrNoCode is the answer to a user code that nobody was given, or that is over.
var ErrNoCode = errors.New("that code did not work")

// Approve is who entering the user code and agreeing.
func (a *Azure) Approve(userCode string, who *Principal) error {
	return a.decide(userCode, func(d *device) { d.by = who })
}

// Decline is somebody entering the user code and refusing.
func (a *Azure) Decline(userCode string) error {
	return a.decide(userCode, func(d *device) { d.declined = true })
}

// ExpireCode ends a user code before its time.
func (a *Azure) ExpireCode(userCode string) error {
	return a.decide(userCode, func(d *device) { d.expires = a.Cloud.Now() })
}

// SlowDown makes the next n polls for device codes answer slow_down.
func (a *Azure) SlowDown(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slowDowns = n
}

// Codes are the user codes that wait for a person, the newest last.
func (a *Azure) Codes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, d := range a.devices {
		if d.by == nil && !d.declined && a.Cloud.Now().Before(d.expires) {
			out = append(out, d.user)
		}
	}
	return out
}

func (a *Azure) decide(userCode string, f func(*device)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.devices {
		if d.user == userCode && d.by == nil && !d.declined && a.Cloud.Now().Before(d.expires) {
			f(d)
			return nil
		}
	}
	return ErrNoCode
}

func (a *Azure) deviceCode(w http.ResponseWriter, r *http.Request, e Environment) {
	form, ok := postForm(r)
	if !ok || form.Get("client_id") == "" {
		a.fail(w, refusal{400, "invalid_request", 900144, "The request body must contain the following parameter: 'client_id'."})
		return
	}
	a.mu.Lock()
	d, refused := a.startDevice(form, r.PathValue("tenant"), e)
	o := a.options
	a.mu.Unlock()
	if refused != nil {
		a.fail(w, *refused)
		return
	}
	page := "https://microsoft.com/devicelogin"
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"user_code": d.user, "device_code": d.code, "verification_uri": page,
		"expires_in": seconds(o.DeviceLife), "interval": seconds(o.DeviceInterval),
		"message": "To sign in, use a web browser to open the page " + page + " and enter the code " + d.user + " to authenticate.",
	})
}

// startDevice makes codes. Callers hold mu.
func (a *Azure) startDevice(form url.Values, name string, e Environment) (*device, *refusal) {
	t := a.tenant(e, name)
	if t == nil && !isShared(name) {
		f := noTenant(name)
		return nil, &f
	}
	client := form.Get("client_id")
	if client != CLIClient && (t == nil || t.client(client) == nil) {
		if t == nil {
			return nil, &refusal{400, "unauthorized_client", 700016, "Application with identifier '" + client + "' was not found in the directory '" + name + "'."}
		}
		return nil, noApp(client, t)
	}
	if form.Get("scope") == "" {
		return nil, &refusal{400, "invalid_request", 900144, "The request body must contain the following parameter: 'scope'."}
	}
	d := &device{
		code: rand.Text() + rand.Text(), user: rand.Text()[:9], client: client, scopes: strings.Fields(form.Get("scope")),
		tenant: t, expires: a.Cloud.Now().Add(a.options.DeviceLife),
	}
	a.devices = append(a.devices, d)
	return d, nil
}

// deviceGrant answers a poll. Callers hold mu.
func (a *Azure) deviceGrant(form url.Values, t *Tenant, e Environment) (answer, *refusal) {
	var d *device
	for _, x := range a.devices {
		if x.code == form.Get("device_code") {
			d = x
		}
	}
	switch {
	case d == nil || d.client != form.Get("client_id") || d.tenant != t:
		return answer{}, &refusal{400, "bad_verification_code", 70019, "The verification code is not valid: it has expired or was made for another client or tenant."}
	case d.spent:
		return answer{}, &refusal{400, "invalid_grant", 54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token."}
	case d.declined:
		return answer{}, &refusal{400, "authorization_declined", 70018, "The end user denied the authorization request."}
	case !a.Cloud.Now().Before(d.expires):
		return answer{}, &refusal{400, "expired_token", 70020, "The provided value for the input parameter 'device_code' is not valid. This device code has expired."}
	case a.slowDowns > 0:
		a.slowDowns--
		return answer{}, &refusal{400, "slow_down", 70016, "OAuth 2.0 device flow error. Polling too often."}
	case d.by == nil:
		return answer{}, &refusal{400, "authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling."}
	}
	now := a.Cloud.Now()
	if t == nil {
		t = d.by.Tenant
	}
	if f := a.signIn(&grant{who: d.by, client: d.client, since: now.Add(time.Second), expires: now.Add(time.Hour)}, t, e); f != nil {
		return answer{}, f
	}
	d.spent = true
	return a.userAnswer(form, d.by, t, e, d.client, d.scopes)
}
