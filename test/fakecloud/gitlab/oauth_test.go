// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

func (w world) client(app *gitlab.Application, scopes ...string) (context.Context, *oauth2.Config) {
	return context.WithValue(w.t.Context(), oauth2.HTTPClient, w.c.Client()), &oauth2.Config{
		ClientID: app.ClientID, Scopes: scopes,
		Endpoint: oauth2.Endpoint{
			DeviceAuthURL: "https://gitlab.com/oauth/authorize_device", TokenURL: "https://gitlab.com/oauth/token", AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) || re.ErrorCode != code || re.ErrorDescription == "" {
		t.Fatalf("not %s: %v", code, err)
	}
}

func TestPeopleLogInWithADeviceCode(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Set(func(o *gitlab.Options) { o.DeviceInterval = time.Second })
	ctx, conf := w.client(w.Application("tool", gitlab.API, gitlab.ReadRegistry), gitlab.API)
	d, err := conf.DeviceAuth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d.VerificationURI != "https://gitlab.com/oauth/device" || !strings.HasSuffix(d.VerificationURIComplete, "?user_code="+d.UserCode) || d.Interval != 1 || len(d.UserCode) != 8 {
		t.Errorf("%+v", d)
	}
	if codes := w.Codes(); len(codes) != 1 || codes[0] != d.UserCode {
		t.Fatalf("%q", codes)
	}
	if err := w.Approve(d.UserCode, w.jane); err != nil {
		t.Fatal(err)
	}
	tok, err := conf.DeviceAccessToken(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(tok.Expiry); left > 2*time.Hour || left < 110*time.Minute || tok.RefreshToken == "" {
		t.Errorf("%v", left)
	}
	if got := w.can(image, "oauth2", tok.AccessToken); got != "pull push" {
		t.Errorf("%q", got)
	}
	status, _, body := w.send("GET", api+"user", "", "Authorization", "Bearer "+tok.AccessToken)
	if status != 200 || !strings.Contains(body, `"username":"jane"`) {
		t.Errorf("%d %s", status, body)
	}
	if _, err := conf.DeviceAccessToken(ctx, d); err == nil {
		t.Error("a code was redeemed twice")
	} else {
		wantCode(t, err, "invalid_grant")
	}
	if w.Approve(d.UserCode, w.jane) == nil || w.Counts().Logins != 1 {
		t.Error("a code lives on")
	}
}

// poll asks for the tokens of a device code and tells the error's name.
func (w world) poll(client, code string) string {
	w.t.Helper()
	status, _, body := w.send("POST", "https://gitlab.com/oauth/token", "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id="+client+"&device_code="+code)
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		w.t.Fatal(body)
	}
	if status == 200 {
		return "ok"
	}
	if m["error"] == "invalid_client" != (status == 401) || status != 400 && status != 401 {
		w.t.Errorf("%d %s", status, body)
	}
	e, _ := m["error"].(string)
	return e
}

func TestDeviceCodesWaitSlowDownEndAndAreDeclined(t *testing.T) {
	t.Parallel()
	w := start(t)
	app := w.Application("tool", gitlab.API)
	other := w.Application("other", gitlab.API)
	ctx, conf := w.client(app, gitlab.API)
	begin := func() *oauth2.DeviceAuthResponse {
		d, err := conf.DeviceAuth(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := begin()
	step := func(after time.Duration, want string) {
		t.Helper()
		w.c.Advance(after)
		if got := w.poll(app.ClientID, d.DeviceCode); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	step(0, "authorization_pending")
	step(0, "slow_down")
	step(5*time.Second, "authorization_pending")
	step(2*time.Second, "slow_down")
	w.SlowDown(1)
	step(10*time.Second, "slow_down")
	step(10*time.Second, "authorization_pending")
	if got := w.poll(other.ClientID, d.DeviceCode); got != "invalid_grant" {
		t.Errorf("%s", got)
	}
	if got := w.poll("unknown", d.DeviceCode); got != "invalid_client" {
		t.Errorf("%s", got)
	}
	if err := w.Decline(d.UserCode); err != nil {
		t.Fatal(err)
	}
	step(10*time.Second, "access_denied")
	step(10*time.Second, "invalid_grant")
	d = begin()
	step(5*time.Minute, "expired_token")
	d = begin()
	if err := w.ExpireCode(d.UserCode); err != nil {
		t.Fatal(err)
	}
	step(0, "expired_token")
	d = begin()
	if err := w.Approve(d.UserCode, w.jane); err != nil {
		t.Fatal(err)
	}
	step(0, "ok")
	conf.Scopes = []string{gitlab.ReadUser}
	_, err := conf.DeviceAuth(ctx)
	wantCode(t, err, "invalid_scope")
	conf.ClientID = "unknown"
	_, err = conf.DeviceAuth(ctx)
	wantCode(t, err, "invalid_client")
	w.Set(func(o *gitlab.Options) { o.NoDevices = true })
	if status, _, body := w.send("POST", "https://gitlab.com/oauth/authorize_device", "client_id="+app.ClientID); status != 404 {
		t.Errorf("an old instance: %d %s", status, body)
	}
}

func TestARefreshEndsBothOldTokens(t *testing.T) {
	t.Parallel()
	w := start(t)
	app := w.Application("tool", gitlab.API)
	ctx, conf := w.client(app)
	old := w.jane.OAuth(app, gitlab.API)
	refresh := func(token string) (*oauth2.Token, error) {
		return conf.TokenSource(ctx, &oauth2.Token{RefreshToken: token}).Token()
	}
	fresh, err := refresh(old.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := w.send("GET", api+"user", "", "Authorization", "Bearer "+old.Access); status != 401 || body != wasRevoked {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := w.scopes("oauth2", old.Access); status != 401 {
		t.Errorf("%d", status)
	}
	_, err = refresh(old.Refresh)
	wantCode(t, err, "invalid_grant")
	if status, _ := w.scopes("oauth2", fresh.AccessToken); status != 200 || !w.RefreshWorks(fresh.RefreshToken) {
		t.Errorf("a used refresh token ended the new pair: %d", status)
	}
	if c := w.Counts(); c.Refreshes != 1 || c.ReusedRefresh != 1 || c.FamiliesKilled != 0 {
		t.Errorf("%+v", c)
	}
	var wg sync.WaitGroup
	var won atomic.Int32
	crowd := w.jane.OAuth(app, gitlab.API)
	for range 20 {
		wg.Go(func() {
			if _, err := refresh(crowd.Refresh); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || w.Counts().ReusedRefresh != 20 {
		t.Errorf("%d of 20 won: %+v", won.Load(), w.Counts())
	}
	w.Lose(gitlab.Refresh, 1)
	if _, err = refresh(fresh.RefreshToken); err == nil || w.RefreshWorks(fresh.RefreshToken) {
		t.Errorf("%v", err)
	}
	_, err = refresh("unknown")
	wantCode(t, err, "invalid_grant")
}

func TestAccessTokensEndAndAreRevoked(t *testing.T) {
	t.Parallel()
	w := start(t)
	app := w.Application("tool", gitlab.API)
	pair := w.jane.OAuth(app, gitlab.API)
	info := func(token string) (int, string) {
		status, _, body := w.send("GET", "https://gitlab.com/oauth/token/info", "", "Authorization", "Bearer "+token)
		return status, body
	}
	if status, body := info(pair.Access); status != 200 || !strings.Contains(body, `"scope":["api"]`) || !strings.Contains(body, app.ClientID) {
		t.Errorf("%d %s", status, body)
	}
	w.c.Advance(2 * time.Hour)
	if status, body := info(pair.Access); status != 401 || !strings.Contains(body, "expired") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := w.send("GET", api+"user", "", "Authorization", "Bearer "+pair.Access); status != 401 || body != isExpired {
		t.Errorf("%d %s", status, body)
	}
	pair = w.jane.OAuth(app, gitlab.API)
	for _, token := range []string{"unknown", pair.Refresh} {
		if status, _, body := w.send("POST", "https://gitlab.com/oauth/revoke", "client_id="+app.ClientID+"&token="+token); status != 200 || body != "{}" {
			t.Errorf("%d %s", status, body)
		}
	}
	if status, body := info(pair.Access); status != 401 || !strings.Contains(body, "revoked") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := w.send("POST", "https://gitlab.com/oauth/revoke", "client_id=unknown&token="+pair.Access); status != 403 {
		t.Errorf("%d", status)
	}
	if status, _, body := w.send("POST", "https://gitlab.com/oauth/token", "grant_type=password"); status != 400 || !strings.Contains(body, "unsupported_grant_type") {
		t.Errorf("%d %s", status, body)
	}
	if status, h, _ := w.send("GET", "https://gitlab.com/acme/app", ""); status != 302 || h.Get("Location") != "https://gitlab.com/users/sign_in" {
		t.Errorf("%d", status)
	}
}
