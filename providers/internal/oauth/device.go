// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The bounds of what a server may say about a code, and the step of slow_down
// (RFC 8628 section 3.5).
const (
	maxLife      = 15 * time.Minute
	interval     = 5 * time.Second
	maxInterval  = time.Minute
	slowDownStep = 5 * time.Second
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// ErrUnsupported is wrapped where the server knows no device authorization for
// this client.
var ErrUnsupported = errors.New("no login by device code")

// code is a device authorization under way.
type code struct {
	secret   providers.Secret
	expires  time.Time
	interval time.Duration
	extra    time.Duration // beyond the interval, while the server does not answer
	lost     error         // why it did not answer last
}

// Device lets a person log in: it shows where to enter which code, and waits
// until that is done, declined or over. what is what they log in to. Errors are
// *Error of providers.
func (c Client) Device(ctx context.Context, ui providers.LoginUI, what string) (Token, error) {
	d, err := c.begin(ctx, ui, what)
	if err != nil {
		return Token{}, err
	}
	for {
		if !c.pause(ctx, min(d.interval+d.extra, d.expires.Sub(c.Now()))) {
			return Token{}, c.fail(providers.Unavailable, "", errors.New("the login was interrupted"))
		}
		if !c.Now().Before(d.expires) {
			if d.lost != nil {
				return Token{}, d.lost
			}
			return Token{}, c.tooLate()
		}
		t, done, err := c.poll(ctx, &d)
		if done || err != nil {
			return t, err
		}
	}
}

func (c Client) begin(ctx context.Context, ui providers.LoginUI, what string) (code, error) {
	form := url.Values{"client_id": {c.ClientID}}
	if c.Scope != "" {
		form.Set("scope", c.Scope)
	}
	for k, v := range c.Extra {
		form[k] = v
	}
	m, err := c.post(ctx, "device authorization", c.DeviceURL, form)
	if err != nil {
		return code{}, c.unsupported(err)
	}
	secret, _ := m["device_code"].(string)
	user, _ := m["user_code"].(string)
	at, _ := m["verification_uri"].(string)
	complete, _ := m["verification_uri_complete"].(string)
	if !browsable(complete) {
		complete = ""
	}
	if at == "" { // Docker Hub sends the complete one alone
		at = complete
	}
	if secret == "" || user == "" || !browsable(at) {
		return code{}, c.fail(providers.Unavailable, "", errors.New(c.Product+": the answer holds no device code"))
	}
	d := code{secret: providers.NewSecret(secret), expires: c.Now().Add(maxLife), interval: interval}
	if n, ok := Seconds(m["expires_in"]); ok && n > 0 && n < maxLife {
		d.expires = c.Now().Add(n)
	}
	if n, ok := Seconds(m["interval"]); ok && n >= time.Second {
		d.interval = min(n, maxInterval)
	}
	return d, ui.Device(ctx, providers.Device{
		For: what, URL: httpx.Printable(at, 200), Complete: httpx.Printable(complete, 400), Code: httpx.Printable(user, 40), ExpiresAt: d.expires,
	})
}

// unsupported words the refusals that mean: not this way.
func (c Client) unsupported(err error) error {
	var oe *Error
	var se *httpx.StatusError
	switch {
	case isPassing(err):
		return err
	case errors.As(err, &oe):
		switch oe.Code {
		case "device_flow_disabled", "unauthorized_client", "unsupported_grant_type", "invalid_client", "incorrect_client_credentials":
			return c.fail(providers.Misconfigured, "", fmt.Errorf("%w: %w", err, ErrUnsupported))
		}
		return c.fail(providers.Denied, "", err)
	case errors.As(err, &se) && (se.Status == 404 || se.Status == 405):
		return c.fail(providers.Misconfigured, "", fmt.Errorf("%w: %w", err, ErrUnsupported))
	}
	return err
}

// poll asks once.
func (c Client) poll(ctx context.Context, d *code) (t Token, done bool, err error) {
	asked := c.Now()
	m, err := c.post(ctx, "device login", c.TokenURL, url.Values{
		"grant_type": {deviceGrant}, "client_id": {c.ClientID}, "device_code": {d.secret.Reveal()},
	}, d.secret)
	if isPassing(err) && ctx.Err() == nil {
		d.backOff(err)
		return t, false, nil
	}
	d.extra, d.lost = 0, nil
	var oe *Error
	switch {
	case err == nil:
		t, err = c.token(m, asked)
		return t, true, err
	case !errors.As(err, &oe):
		return t, false, err
	}
	switch oe.Code {
	case "authorization_pending":
		return t, false, nil
	case "slow_down":
		d.interval += slowDownStep
		if n, ok := Seconds(m["interval"]); ok && n > d.interval {
			d.interval = min(n, maxInterval)
		}
		return t, false, nil
	case "expired_token", "token_expired":
		return t, false, c.tooLate()
	case "access_denied", "authorization_declined":
		return t, false, c.fail(providers.Denied, "", errors.New(c.Product+": the login was declined in the browser"))
	}
	return t, false, c.fail(providers.Denied, "", err)
}

// isPassing reports an error that says nothing about the login. A lost answer
// is one: it is no refusal.
func isPassing(err error) bool {
	e, ok := errors.AsType[*providers.Error](err)
	return ok && e.Kind == providers.Unavailable
}

// backOff asks less often while the server does not answer, each time half as
// often (RFC 8628 section 3.5), and not before it wants to be asked.
func (d *code) backOff(err error) {
	d.lost = err
	d.extra = max(2*d.extra, d.interval)
	if e, ok := errors.AsType[*providers.Error](err); ok {
		d.extra = max(d.extra, e.RetryAfter)
	}
	d.extra = min(d.extra, maxInterval)
}

func (c Client) tooLate() error {
	return c.fail(providers.LoginRequired, "run: regmint login "+c.Host.String(), errors.New(c.Product+": nobody entered the code in time"))
}

// browsable: what a browser is sent to is https, or http on loopback (tests).
func browsable(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	h, err := providers.ParseHost(u.Host)
	return u.Scheme == "http" && err == nil && h.IsLoopback()
}

func (c Client) pause(ctx context.Context, d time.Duration) bool {
	if c.Pause != nil {
		return c.Pause(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
