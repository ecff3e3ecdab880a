// SPDX-License-Identifier: Apache-2.0

package google_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
	sdk "golang.org/x/oauth2/google"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

const (
	ciEmail   = "ci@acme.iam.gserviceaccount.com"
	prodEmail = "prod@acme.iam.gserviceaccount.com"
	jane      = "jane@example.com"
)

func start(t *testing.T) (*fakecloud.Cloud, *google.Google, context.Context) {
	t.Helper()
	c := fakecloud.Start(t)
	return c, google.New(c, google.Options{}), context.WithValue(t.Context(), oauth2.HTTPClient, c.Client())
}

// mint asks with the vendor's library.
func mint(ctx context.Context, t *testing.T, file []byte, scopes ...string) (*oauth2.Token, error) {
	t.Helper()
	if len(scopes) == 0 {
		scopes = []string{google.ScopeCloudPlatform}
	}
	var kind struct {
		Type sdk.CredentialsType `json:"type"`
	}
	if err := json.Unmarshal(file, &kind); err != nil {
		t.Fatal(err)
	}
	c, err := sdk.CredentialsFromJSONWithType(ctx, file, kind.Type, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return c.TokenSource.Token()
}

func wantWho(t *testing.T, g *google.Google, tok *oauth2.Token, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if who, _ := g.Who(tok.AccessToken); who != want {
		t.Errorf("the token is %q's, not %q's", who, want)
	}
	if left := time.Until(tok.Expiry); left <= 0 || left > time.Hour {
		t.Errorf("it lives for %v", left)
	}
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}

func TestKeyFilesMintUntilTheKeyIsDeleted(t *testing.T) {
	_, g, ctx := start(t)
	ci := g.ServiceAccount(ciEmail)
	file := ci.Key()
	tok, err := mint(ctx, t, file, google.ScopeReadOnly)
	wantWho(t, g, tok, err, ci.Member())
	if _, scopes := g.Who(tok.AccessToken); len(scopes) != 1 || scopes[0] != google.ScopeReadOnly {
		t.Errorf("scopes %q", scopes)
	}

	foreign := fakecloud.Start(t)
	_, err = mint(ctx, t, google.New(foreign, google.Options{}).ServiceAccount(ciEmail).Key())
	wantError(t, err, "invalid_grant", "Invalid JWT Signature.")
	_, err = mint(ctx, t, google.New(foreign, google.Options{}).ServiceAccount("nobody@acme.iam.gserviceaccount.com").Key())
	wantError(t, err, "invalid_grant", "account not found")

	ci.Disable(true)
	_, err = mint(ctx, t, file)
	wantError(t, err, "invalid_grant", "disabled")
	ci.Disable(false)
	ci.DeleteKeys()
	_, err = mint(ctx, t, file)
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) || re.Response.StatusCode != 400 || !strings.Contains(string(re.Body), `"invalid_grant"`) {
		t.Errorf("%v", err)
	}
}

// The assertions that no library makes are refused in Google's words.
func TestWrongAssertionsAreRefused(t *testing.T) {
	c, g, _ := start(t)
	ci := g.ServiceAccount(ciEmail)
	var file struct {
		ID  string `json:"private_key_id"`
		Key string `json:"private_key"`
	}
	if err := json.Unmarshal(ci.Key(), &file); err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(file.Key))
	if err != nil {
		t.Fatal(err)
	}
	now := c.Now()
	for name, tc := range map[string]struct {
		change jwt.MapClaims
		want   string
	}{
		"as it should be":     {nil, `"access_token":"ya29.c.`},
		"another audience":    {jwt.MapClaims{"aud": "https://sts.googleapis.com/"}, "Failed audience check"},
		"a life of two hours": {jwt.MapClaims{"exp": now.Add(2 * time.Hour).Unix()}, "short-lived token (60 minutes)"},
		"a clock ahead":       {jwt.MapClaims{"iat": now.Add(20 * time.Minute).Unix(), "exp": now.Add(time.Hour).Unix()}, "reasonable timeframe"},
		"a clock behind":      {jwt.MapClaims{"iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(-time.Hour).Unix()}, "reasonable timeframe"},
		"no times":            {jwt.MapClaims{"iat": nil, "exp": nil}, "iat and exp"},
		"no scope":            {jwt.MapClaims{"scope": ""}, "invalid_scope"},
		"a made-up scope":     {jwt.MapClaims{"scope": "everything"}, "invalid_scope"},
		"another's subject":   {jwt.MapClaims{"sub": jane}, "unauthorized_client"},
	} {
		claims := jwt.MapClaims{"iss": ciEmail, "aud": google.TokenURI, "scope": google.ScopeCloudPlatform, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		for k, v := range tc.change {
			claims[k] = v
		}
		signed := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
		signed.Header["kid"] = file.ID
		assertion, err := signed.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		body := post(t, c, google.TokenURI, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}})
		if !strings.Contains(body, tc.want) {
			t.Errorf("%s: %s", name, body)
		}
	}
	if body := post(t, c, google.TokenURI, url.Values{"grant_type": {"password"}}); !strings.Contains(body, "unsupported_grant_type") {
		t.Error(body)
	}
}

func TestPeopleRefreshUntilTheyMustLogInAgain(t *testing.T) {
	c, g, ctx := start(t)
	u := g.User(jane)
	file := u.Login()
	tok, err := mint(ctx, t, file)
	wantWho(t, g, tok, err, "user:"+jane)
	if body := post(t, c, "https://oauth2.googleapis.com/tokeninfo", url.Values{"access_token": {tok.AccessToken}}); !strings.Contains(body, `"expires_in":"35`) {
		t.Error(body)
	}

	u.RequireReauth(true)
	_, err = mint(ctx, t, file)
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) || !strings.Contains(string(re.Body), `"error_subtype":"invalid_rapt"`) {
		t.Errorf("%v", err)
	}
	u.RequireReauth(false)
	u.Logout()
	_, err = mint(ctx, t, file)
	wantError(t, err, "invalid_grant", "Token has been expired or revoked.")
	_, err = mint(ctx, t, []byte(strings.ReplaceAll(string(u.Login()), google.ClientSecret, "other")))
	wantError(t, err, "invalid_client")

	c.Advance(59*time.Minute + 58*time.Second)
	if who, _ := g.Who(tok.AccessToken); who == "" {
		t.Error("a token ended early")
	}
	c.Advance(2 * time.Second)
	if who, _ := g.Who(tok.AccessToken); who != "" {
		t.Error("a token outlived its hour")
	}
}

func TestWorkloadIdentitiesAreFederated(t *testing.T) {
	c, g, ctx := start(t)
	const sub = "repo:acme/app:ref:refs/heads/main"
	i := c.Issuer(fakecloud.GitHubIssuer)
	p := g.Provider(google.WorkloadProvider{
		Issuer: i.URL, Attributes: map[string]string{"repository": "repository"},
		Condition: func(claims map[string]any) bool { return claims["ref"] != "refs/heads/evil" },
	})
	runner := c.GitHubRunner(sub)
	source := google.URLSource(runner.URL+"&audience="+url.QueryEscape("https:"+p.Audience()), runner.Token)
	tok, err := mint(ctx, t, p.Credentials(source, nil, 0))
	wantWho(t, g, tok, err, p.Principal(sub))

	// With impersonation, when the set of the repository is allowed it.
	ci := g.ServiceAccount(ciEmail)
	_, err = mint(ctx, t, p.Credentials(source, ci, 0))
	wantError(t, err, "403", "iam.serviceAccounts.getAccessToken")
	ci.AllowImpersonation(p.PrincipalSet("attribute.repository/acme/app"))
	tok, err = mint(ctx, t, p.Credentials(source, ci, 900*time.Second))
	wantWho(t, g, tok, err, ci.Member())
	if left := time.Until(tok.Expiry); left > 15*time.Minute {
		t.Errorf("it lives for %v", left)
	}

	file := filepath.Join(t.TempDir(), "token")
	exchange := func(token string) error {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := mint(ctx, t, p.Credentials(google.FileSource(file), nil, 0))
		return err
	}
	if err := exchange(i.Sign(sub, p.Audience(), nil)); err != nil {
		t.Error(err)
	}
	wantError(t, exchange(i.Sign(sub, "sts.amazonaws.com", nil)), "invalid_grant", "The audience in ID Token")
	wantError(t, exchange(i.Sign(sub, p.Audience(), map[string]any{"exp": c.Now().Add(-time.Minute).Unix()})), "invalid_grant", "stale")
	wantError(t, exchange(i.Sign(sub, p.Audience(), map[string]any{"ref": "refs/heads/evil"})), "unauthorized_client", "attribute condition")
	wantError(t, exchange(i.Sign(strings.Repeat("x", 128), p.Audience(), nil)), "127 bytes")
	wantError(t, exchange(c.Issuer(fakecloud.GitLabIssuer).Sign(sub, p.Audience(), nil)), "invalid_grant", "issuer")
	wantError(t, exchange(fakecloud.Start(t).Issuer(fakecloud.GitHubIssuer).Sign(sub, p.Audience(), nil)), "invalid_grant")
	gone := strings.ReplaceAll(string(p.Credentials(google.FileSource(file), nil, 0)), "providers/oidc", "providers/gone")
	_, err = mint(ctx, t, []byte(gone))
	wantError(t, err, "invalid_target")
}

func TestAWSIdentitiesAreFederated(t *testing.T) {
	c, g, ctx := start(t)
	p := g.Provider(google.WorkloadProvider{AWSAccount: "123456789012", Attributes: map[string]string{"account": "account"}})
	account := "123456789012"
	c.Handle("sts.*.amazonaws.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/sts/aws4_request") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
			`<Arn>arn:aws:sts::` + account + `:assumed-role/ci/i-1</Arn><Account>` + account + `</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`))
	}))
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1", "AWS_SESSION_TOKEN": ""} {
		t.Setenv(k, v)
	}
	file := p.Credentials(google.AWSSource(""), nil, 0)
	tok, err := mint(ctx, t, file)
	wantWho(t, g, tok, err, p.Principal("arn:aws:sts::123456789012:assumed-role/ci/i-1"))
	account = "999999999999"
	_, err = mint(ctx, t, file)
	wantError(t, err, "invalid_grant", "999999999999")
	t.Setenv("AWS_REGION", "us-east-1")
	_, err = mint(ctx, t, file)
	wantError(t, err, "invalid_grant", "403")
}

func TestPeopleOfAWorkforcePoolRefresh(t *testing.T) {
	_, g, ctx := start(t)
	u := g.User(jane)
	file := u.WorkforceLogin()
	tok, err := mint(ctx, t, file)
	wantWho(t, g, tok, err, u.WorkforceMember())
	u.Logout()
	_, err = mint(ctx, t, file)
	wantError(t, err, "invalid_grant", "refresh token is invalid")
}

func TestImpersonationWalksTheChain(t *testing.T) {
	_, g, ctx := start(t)
	ci, hop, prod := g.ServiceAccount(ciEmail), g.ServiceAccount("hop@acme.iam.gserviceaccount.com"), g.ServiceAccount(prodEmail)
	key := ci.Key()
	prod.AllowImpersonation(hop.Member())
	hop.AllowImpersonation(ci.Member())
	tok, err := mint(ctx, t, prod.Impersonated(key, hop))
	wantWho(t, g, tok, err, prod.Member())
	_, err = mint(ctx, t, prod.Impersonated(key))
	wantError(t, err, "403", "PERMISSION_DENIED", "iam.serviceAccounts.getAccessToken")
	_, err = mint(ctx, t, g.ServiceAccount(ciEmail).Impersonated(key, hop, prod))
	wantError(t, err, "403")
	gone := strings.ReplaceAll(string(hop.Impersonated(key)), "serviceAccounts/hop@", "serviceAccounts/gone@")
	_, err = mint(ctx, t, []byte(gone))
	wantError(t, err, "404", "Gaia id not found")
	// A read-only token may not have others made.
	_, err = mint(ctx, t, hop.Impersonated(key), google.ScopeReadOnly)
	wantError(t, err, "403", "insufficient authentication scopes")
}

func TestLifetimesAreBounded(t *testing.T) {
	c, g, _ := start(t)
	ci := g.ServiceAccount(ciEmail).AllowImpersonation("user:" + jane)
	ask := func(life string) (int, string) {
		t.Helper()
		body := `{"scope":["` + google.ScopeCloudPlatform + `"],"lifetime":"` + life + `"}`
		return do(t, c, "POST", ci.ImpersonationURL(), "Bearer "+g.Token("user:"+jane, time.Hour), body)
	}
	for life, want := range map[string]int{"300s": 200, "3600s": 200, "3601s": 400, "1h": 400, "-5s": 400} {
		if code, body := ask(life); code != want {
			t.Errorf("%s: %d %s", life, code, body)
		} else if code == 400 && !strings.Contains(body, "INVALID_ARGUMENT") {
			t.Error(body)
		}
	}
	ci.ExtendLifetime()
	if code, body := ask("43200s"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, body := do(t, c, "POST", ci.ImpersonationURL(), "Bearer bogus", "{}"); code != 401 || !strings.Contains(body, "UNAUTHENTICATED") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := do(t, c, "POST", ci.ImpersonationURL(), "", "{}"); code != 403 {
		t.Errorf("%d %s", code, body)
	}
}

func post(t *testing.T, c *fakecloud.Cloud, to string, form url.Values) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, body := send(t, c, r)
	return body
}

func do(t *testing.T, c *fakecloud.Cloud, method, to, authorization, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	res, text := send(t, c, r)
	return res.StatusCode, text
}
