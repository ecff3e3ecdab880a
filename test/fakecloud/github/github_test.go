// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/github"
)

type rig struct {
	t *testing.T
	c *fakecloud.Cloud
	g *github.GitHub
}

func start(t *testing.T, o github.Options) rig {
	t.Helper()
	c := fakecloud.Start(t)
	return rig{t, c, github.New(c, o)}
}

func (r rig) do(method, to, auth, accept, body string) (*http.Response, string) {
	r.t.Helper()
	q, err := http.NewRequest(method, to, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if auth != "" {
		q.Header.Set("Authorization", auth)
	}
	if accept != "" {
		q.Header.Set("Accept", accept)
	}
	if method == http.MethodPost && !strings.HasPrefix(body, "{") {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := r.c.Client().Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(b)
}

// expect checks status and a part of the body.
func (r rig) expect(what string, res *http.Response, body string, status int, part string) {
	r.t.Helper()
	if res.StatusCode != status || !strings.Contains(body, part) {
		r.t.Errorf("%s: %d %s, want %d %q", what, res.StatusCode, body, status, part)
	}
}

func (r rig) poll(client, code string) map[string]any {
	r.t.Helper()
	_, b := r.do("POST", "https://github.com/login/oauth/access_token", "", "application/json",
		url.Values{"client_id": {client}, "device_code": {code}, "grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}}.Encode())
	var m map[string]any
	if err := json.Unmarshal([]byte(b), &m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

func TestDeviceLoginsGoThroughTheirStates(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{DeviceInterval: time.Hour, DeviceLife: 24 * time.Hour})
	jane, app := r.g.User("jane"), r.g.App("minter")
	res, b := r.do("POST", "https://github.com/login/device/code", "", "", "client_id="+app.ClientID)
	form, err := url.ParseQuery(b)
	if err != nil || form.Get("device_code") == "" || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		t.Fatalf("not form-encoded: %s", b)
	}
	code := form.Get("device_code")
	for _, step := range []struct{ want string }{{"authorization_pending"}, {"slow_down"}} {
		if m := r.poll(app.ClientID, code); m["error"] != step.want {
			t.Errorf("%v, want %s", m, step.want)
		}
	}
	r.c.Advance(2 * time.Hour)
	if !r.g.Approve(r.g.Codes()[0], jane) {
		t.Fatal("no such code")
	}
	m := r.poll(app.ClientID, code)
	old, _ := m["refresh_token"].(string)
	if !strings.HasPrefix(old, "ghr_") || m["expires_in"] != 28800.0 {
		t.Fatalf("%v", m)
	}
	for i, want := range []string{"", "bad_refresh_token"} {
		_, b := r.do("POST", "https://github.com/login/oauth/access_token", "", "application/json", url.Values{"client_id": {app.ClientID}, "grant_type": {"refresh_token"}, "refresh_token": {old}}.Encode())
		if got := strings.Contains(b, "bad_refresh_token"); got != (want != "") {
			t.Errorf("refresh %d: %s", i, b)
		}
	}
	res, b = r.do("GET", "https://api.github.com/user", "Bearer "+m["access_token"].(string), "", "")
	r.expect("the access token after a refresh", res, b, 401, "Bad credentials")
	if c := r.g.Counts(); c.Refreshes != 1 || c.ReusedRefresh != 1 || c.Logins != 1 {
		t.Errorf("%+v", c)
	}
	off := r.g.OAuthApp("tool")
	off.DisableDevice()
	res, b = r.do("POST", "https://github.com/login/device/code", "", "application/json", "client_id="+off.ClientID)
	r.expect("device login that is off", res, b, 400, "device_flow_disabled")
}

func (r rig) sign(a *github.App, iat, exp time.Duration, iss string) string {
	r.t.Helper()
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(a.Key))
	if err != nil {
		r.t.Fatal(err)
	}
	now := r.c.Now()
	s, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": iss, "iat": now.Add(iat).Unix(), "exp": now.Add(exp).Unix()}).SignedString((*rsa.PrivateKey)(key))
	if err != nil {
		r.t.Fatal(err)
	}
	return "Bearer " + s
}

func TestAppsProveThemselvesWithoutLeeway(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	a := r.g.App("minter")
	in := a.Install("acme", github.Write, "app")
	id := strconv.Itoa(a.ID)
	for _, x := range []struct {
		iat, exp time.Duration
		iss      string
		status   int
		part     string
	}{
		{-time.Minute, 9 * time.Minute, id, 200, `"slug":"minter"`},
		{-time.Minute, 9 * time.Minute, a.ClientID, 200, `"slug":"minter"`},
		{-time.Minute, 11 * time.Minute, id, 401, "too far in the future"},
		{-time.Minute, -time.Second, id, 401, "must be a numeric value"},
		{30 * time.Second, 9 * time.Minute, id, 401, "'iat'"},
		{-time.Minute, 9 * time.Minute, "1", 404, "Integration not found"},
	} {
		res, b := r.do("GET", "https://api.github.com/app", r.sign(a, x.iat, x.exp, x.iss), "", "")
		r.expect(x.part, res, b, x.status, x.part)
	}
	ok := r.sign(a, -time.Minute, time.Minute, id)
	at := "https://api.github.com/app/installations/" + strconv.Itoa(in.ID) + "/access_tokens"
	res, b := r.do("POST", at, ok, "", `{"permissions":{"contents":"read"}}`)
	r.expect("a permission it has not", res, b, 422, "not granted")
	res, b = r.do("POST", at, ok, "", `{"repositories":["other"]}`)
	r.expect("a repository it has not", res, b, 422, "at least one repository")
	forms := map[bool]int{}
	for range 4 {
		res, b = r.do("POST", at, ok, "", `{"repositories":["app"],"permissions":{"packages":"read"}}`)
		r.expect("a token", res, b, 201, `"packages":"read"`)
		var m map[string]any
		_ = json.Unmarshal([]byte(b), &m)
		s := m["token"].(string)
		forms[strings.Contains(s, ".")]++
		if strings.Contains(s, ".") && len(s) != 520 {
			t.Errorf("%d characters", len(s))
		}
	}
	if forms[true] != 2 || forms[false] != 2 {
		t.Errorf("forms %v", forms)
	}
}

// bearer logs in at the token endpoint.
func (r rig) bearer(user, secret, scope string) (int, string) {
	r.t.Helper()
	q, _ := http.NewRequest("GET", "https://ghcr.io/token?service=ghcr.io&scope="+url.QueryEscape(scope), nil)
	if secret != "" {
		q.SetBasicAuth(user, secret)
	}
	res, err := r.c.Client().Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var m struct{ Token string }
	_ = json.Unmarshal(b, &m)
	if m.Token == "" {
		return res.StatusCode, string(b)
	}
	return res.StatusCode, m.Token
}

func TestTheRegistryLetsInWhatTheRealOneDoes(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{})
	jane := r.g.User("jane")
	r.g.Org("acme").Add(jane)
	r.g.Package("acme/app")
	a := r.g.App("minter")
	in := a.Install("acme", github.Write)
	_, b := r.do("POST", "https://api.github.com/app/installations/"+strconv.Itoa(in.ID)+"/access_tokens", r.sign(a, -time.Minute, time.Minute, a.ClientID), "", "")
	var minted struct{ Token string }
	_ = json.Unmarshal([]byte(b), &minted)
	job := r.g.Job("acme/app", jane, github.Read)
	r.g.Package("acme/app").Link("acme/app", github.Read)
	for name, x := range map[string]struct {
		secret       string
		login, upper int // token endpoint, tags of a private package
	}{
		"classic":        {jane.Classic(github.ReadPackages).Secret, 200, 404},
		"no scope":       {jane.Classic("repo").Secret, 200, 403},
		"fine-grained":   {jane.FineGrained().Secret, 403, 0},
		"unknown":        {"ghp_" + strings.Repeat("x", 36), 403, 0},
		"expired":        {jane.Classic(github.ReadPackages).Expire(r.c.Now().Add(-time.Hour)).Secret, 403, 0},
		"stranger":       {r.g.User("mallory").Classic(github.WritePackages).Secret, 200, 403},
		"anonymous":      {"", 200, 403},
		"installation":   {minted.Token, 200, 403},
		"a job":          {job.Token.Secret, 200, 404},
		"gh's own login": {jane.OAuth(github.WritePackages).Secret, 200, 404},
	} {
		status, text := r.bearer("user", x.secret, "repository:acme/app:pull")
		if status != x.login || status == 403 && !strings.Contains(text, `"denied"`) {
			t.Errorf("%s: login %d %s", name, status, text)
		}
		if status != 200 {
			continue
		}
		res, b := r.do("GET", "https://ghcr.io/v2/acme/app/tags/list", "Bearer "+text, "", "")
		r.expect(name, res, b, x.upper, "")
	}
	res, b := r.do("GET", "https://ghcr.io/v2/", "", "", "")
	r.expect("no login", res, b, 401, "authentication required")
	if res.Header.Get("WWW-Authenticate") != `Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"` {
		t.Error(res.Header.Get("WWW-Authenticate"))
	}
	res, b = r.do("GET", "https://ghcr.io/token", "Bearer "+jane.Classic().Secret, "", "")
	r.expect("a bearer at the token endpoint", res, b, 401, "authentication required")
}

func TestAnEnterpriseServerHasItsAPIBelowItsName(t *testing.T) {
	t.Parallel()
	r := start(t, github.Options{Host: "github.corp.example"})
	pat := r.g.User("jane").Classic(github.ReadPackages).Expire(r.c.Now().Add(time.Hour))
	res, b := r.do("GET", "https://github.corp.example/api/v3/user", "token "+pat.Secret, "", "")
	r.expect("user", res, b, 200, `"login":"jane"`)
	if res.Header.Get("X-OAuth-Scopes") != github.ReadPackages || !strings.HasSuffix(res.Header.Get("Github-Authentication-Token-Expiration"), " UTC") {
		t.Error(res.Header)
	}
	if r.g.Registry() != "containers.github.corp.example" {
		t.Error(r.g.Registry())
	}
}
