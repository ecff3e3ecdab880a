// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// GlabClient is the public client of the GitLab CLI, which gitlab.com knows.
const GlabClient = "41d48f9422ebd655dd9cf2947d6979681dfaddc6d0c56f7628f6ada59559af1e"

// Application is an OAuth2 client without a secret.
type Application struct {
	ClientID string
	Name     string

	scopes []string
}

// Application registers a client that may ask for these scopes.
func (g *GitLab) Application(name string, scopes ...string) *Application {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := &Application{ClientID: hexText(), Name: name, scopes: slices.Clone(scopes)}
	g.apps[a.ClientID] = a
	return a
}

// ErrNoCode is the answer to a user code that nobody was given, or that is over.
var ErrNoCode = errors.New("that code did not work")

type device struct {
	code, user string
	app        *Application
	scopes     []string
	expires    time.Time
	polled     time.Time
	by         *User
	declined   bool
	spent      bool
}

// Approve is who entering the user code and agreeing.
func (g *GitLab) Approve(userCode string, who *User) error {
	return g.decide(userCode, func(d *device) { d.by = who })
}

// Decline is somebody entering the user code and refusing.
func (g *GitLab) Decline(userCode string) error {
	return g.decide(userCode, func(d *device) { d.declined = true })
}

// ExpireCode ends a user code before its time.
func (g *GitLab) ExpireCode(userCode string) error {
	return g.decide(userCode, func(d *device) { d.expires = g.Cloud.Now() })
}

// SlowDown makes the next n polls for device codes answer slow_down, beside
// those that come too early.
func (g *GitLab) SlowDown(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slow = n
}

// Codes are the user codes that wait for a person, the newest last.
func (g *GitLab) Codes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, d := range g.devices {
		if g.waiting(d) {
			out = append(out, d.user)
		}
	}
	return out
}

func (g *GitLab) waiting(d *device) bool {
	return d.by == nil && !d.declined && g.Cloud.Now().Before(d.expires)
}

func (g *GitLab) decide(userCode string, f func(*device)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.devices {
		if d.user == userCode && g.waiting(d) {
			f(d)
			return nil
		}
	}
	return ErrNoCode
}

func (g *GitLab) authorizeDevice(w http.ResponseWriter, form url.Values) {
	g.mu.Lock()
	app := g.apps[form.Get("client_id")]
	scopes := strings.Fields(form.Get("scope"))
	var refused *oauthError
	switch {
	case g.options.NoDevices:
		g.mu.Unlock()
		w.WriteHeader(http.StatusNotFound)
		return
	case app == nil:
		refused = errClient
	case len(scopes) == 0, slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(app.scopes, s) }):
		refused = errScope
	}
	if refused != nil {
		g.mu.Unlock()
		refused.write(w)
		return
	}
	d := &device{
		code: rand.Text() + rand.Text(), user: rand.Text()[:8], app: app, scopes: scopes, expires: g.Cloud.Now().Add(g.options.DeviceLife),
	}
	g.devices = append(g.devices, d)
	o := g.options
	g.mu.Unlock()
	page := "https://" + o.Host + "/oauth/device"
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"device_code": d.code, "user_code": d.user, "verification_uri": page, "verification_uri_complete": page + "?user_code=" + d.user,
		"expires_in": int(o.DeviceLife / time.Second), "interval": int(o.DeviceInterval / time.Second),
	})
}

// deviceGrant answers a poll. A poll that comes before the interval is over
// does not begin a new one. Callers hold mu.
func (g *GitLab) deviceGrant(form url.Values, app *Application) (*grant, *oauthError) {
	var d *device
	for _, x := range g.devices {
		if x.code == form.Get("device_code") && !x.spent {
			d = x
		}
	}
	now := g.Cloud.Now()
	switch {
	case app == nil:
		return nil, errClient
	case d == nil || d.app != app:
		return nil, errGrant
	case !now.Before(d.expires):
		d.spent = true
		return nil, &oauthError{400, "expired_token", "The device code has expired, and the device authorization session has concluded."}
	// A client's clock and ours may differ by a little.
	case g.slow > 0 || !d.polled.IsZero() && now.Sub(d.polled) < g.options.DeviceInterval*9/10:
		g.slow = max(g.slow-1, 0)
		return nil, &oauthError{400, "slow_down", "The authorization request is still pending and polling should continue, but the interval must be increased."}
	}
	d.polled = now
	switch {
	case d.declined:
		d.spent = true
		return nil, &oauthError{400, "access_denied", "The resource owner or authorization server denied the request."}
	case d.by == nil:
		return nil, &oauthError{400, "authorization_pending", "The authorization request is still pending."}
	}
	d.spent = true
	g.counts.Logins++
	return g.newGrant(app, d.by, d.scopes), nil
}
