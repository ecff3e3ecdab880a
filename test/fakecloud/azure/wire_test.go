// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

func push(w *world, ref, user, pass string) error {
	r, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	img, err := random.Image(64, 1)
	if err != nil {
		return err
	}
	return remote.Write(r, img, remote.WithAuth(&authn.Basic{Username: user, Password: pass}), remote.WithTransport(w.c.Client().Transport), remote.WithRetryStatusCodes())
}

func pull(w *world, ref, user, pass string) error {
	r, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	var auth authn.Authenticator = &authn.Basic{Username: user, Password: pass}
	if user == "" {
		auth = authn.Anonymous
	}
	img, err := remote.Image(r, remote.WithAuth(auth), remote.WithTransport(w.c.Client().Transport), remote.WithRetryStatusCodes())
	if err != nil {
		return err
	}
	_, err = img.RawConfigFile()
	return err
}

type response struct {
	status int
	header http.Header
	body   map[string]any
}

func (w *world) do(t *testing.T, method, address, body string, header ...string) response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := w.c.Client().Do(r)
	if err != nil {
		return response{}
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	out := response{status: res.StatusCode, header: res.Header}
	_ = json.Unmarshal(b, &out.body)
	return out
}

func (r response) text(key string) string {
	s, _ := r.body[key].(string)
	return s
}

func (r response) code() string {
	if list, _ := r.body["errors"].([]any); len(list) == 1 {
		m, _ := list[0].(map[string]any)
		s, _ := m["code"].(string)
		return s
	}
	return ""
}

func form(kv ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(kv); i += 2 {
		v.Add(kv[i], kv[i+1])
	}
	return v.Encode()
}

func (w *world) exchange(t *testing.T, host, token string, kv ...string) response {
	t.Helper()
	return w.do(t, "POST", "https://"+host+"/oauth2/exchange", form(append([]string{"grant_type", "access_token", "service", host, "access_token", token}, kv...)...))
}

func (w *world) scoped(t *testing.T, host, refresh string, scopes ...string) response {
	t.Helper()
	kv := []string{"grant_type", "refresh_token", "service", host, "refresh_token", refresh}
	for _, s := range scopes {
		kv = append(kv, "scope", s)
	}
	return w.do(t, "POST", "https://"+host+"/oauth2/token", form(kv...))
}

func accessOf(t *testing.T, token string) string {
	t.Helper()
	var c struct {
		jwt.RegisteredClaims
		Access []struct {
			Name    string
			Actions []string
		}
	}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range c.Access {
		out = append(out, a.Name+":"+strings.Join(a.Actions, ","))
	}
	return strings.Join(out, " ")
}

func thumbprint(c azure.Certificate) string {
	sum := sha256.Sum256(c.Cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestTokenEndpointRefusesAsEntraDoes(t *testing.T) {
	w := newWorld(t)
	other := w.az.Tenant(azure.Public, "")
	app := w.tenant.App("ci")
	secret, short := app.AddSecret(0), app.AddSecret(time.Minute)
	cert := app.AddCertificate()
	app.Federate(azure.Federation{Issuer: fakecloud.GitHubIssuer, Subject: "repo:acme/app:ref:refs/heads/main"})
	gitHub, gitLab := w.c.Issuer(fakecloud.GitHubIssuer), w.c.Issuer(fakecloud.GitLabIssuer)
	const sub, aud = "repo:acme/app:ref:refs/heads/main", "api://AzureADTokenExchange"
	endpoint := "https://login.microsoftonline.com/" + w.tenant.ID + "/oauth2/v2.0/token"
	assertion := func(key azure.Certificate, x5t azure.Certificate, change map[string]any) string {
		c := jwt.MapClaims{"iss": app.ClientID, "sub": app.ClientID, "aud": endpoint, "jti": "1", "exp": w.c.Now().Add(time.Minute).Unix()}
		for k, v := range change {
			c[k] = v
		}
		tok := jwt.NewWithClaims(jwt.SigningMethodPS256, c)
		tok.Header["x5t#S256"] = thumbprint(x5t)
		s, err := tok.SignedString(key.Key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := []string{"grant_type", "client_credentials", "client_id", app.ClientID, "scope", azure.RegistryAudience + "/.default"}
	signed := func(a string) []string {
		return append(slices.Clone(good), "client_assertion", a, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	}
	with := func(kv ...string) []string { return append(slices.Clone(good), kv...) }
	w.c.Advance(2 * time.Minute)
	for name, tc := range map[string]struct {
		tenant string
		form   []string
		status int
		error  string
		aadsts string
	}{
		"a good secret":            {w.tenant.ID, with("client_secret", secret), 200, "", ""},
		"the tenant's domain":      {"contoso.onmicrosoft.com", with("client_secret", secret), 200, "", ""},
		"a good certificate":       {w.tenant.ID, signed(assertion(cert, cert, nil)), 200, "", ""},
		"a good federated token":   {w.tenant.ID, signed(gitHub.Sign(sub, aud, nil)), 200, "", ""},
		"a wrong secret":           {w.tenant.ID, with("client_secret", "guess"), 401, "invalid_client", "AADSTS7000215: Invalid client secret provided."},
		"an expired secret":        {w.tenant.ID, with("client_secret", short), 401, "invalid_client", "AADSTS7000222"},
		"no secret":                {w.tenant.ID, good, 401, "invalid_client", "AADSTS7000216"},
		"another tenant":           {other.ID, with("client_secret", secret), 400, "unauthorized_client", "AADSTS700016"},
		"no tenant":                {"nobody.example", with("client_secret", secret), 400, "invalid_request", "AADSTS90002"},
		"organizations":            {"organizations", with("client_secret", secret), 400, "invalid_request", "AADSTS50194"},
		"another scope form":       {w.tenant.ID, []string{"grant_type", "client_credentials", "client_id", app.ClientID, "client_secret", secret, "scope", azure.RegistryAudience}, 400, "invalid_scope", "AADSTS1002012"},
		"an unknown resource":      {w.tenant.ID, []string{"grant_type", "client_credentials", "client_id", app.ClientID, "client_secret", secret, "scope", "https://evil.example/.default"}, 400, "invalid_resource", "AADSTS500011"},
		"another environment":      {w.tenant.ID, []string{"grant_type", "client_credentials", "client_id", app.ClientID, "client_secret", secret, "scope", azure.China.ARM + "/.default"}, 400, "invalid_resource", "AADSTS500011"},
		"no grant":                 {w.tenant.ID, []string{"client_id", app.ClientID}, 400, "invalid_request", "AADSTS900144"},
		"an unknown grant":         {w.tenant.ID, []string{"grant_type", "magic", "client_id", app.ClientID}, 400, "unsupported_grant_type", "AADSTS70003"},
		"assertion for elsewhere":  {w.tenant.ID, signed(assertion(cert, cert, map[string]any{"aud": "https://evil.example/token"})), 401, "invalid_client", "AADSTS700023"},
		"assertion expired":        {w.tenant.ID, signed(assertion(cert, cert, map[string]any{"exp": w.c.Now().Add(-time.Minute).Unix()})), 401, "invalid_client", "AADSTS700024"},
		"assertion of another app": {w.tenant.ID, signed(assertion(cert, cert, map[string]any{"sub": "x"})), 401, "invalid_client", "AADSTS700021"},
		"an unknown certificate":   {w.tenant.ID, signed(assertion(azure.NewCertificate("x"), azure.NewCertificate("x"), nil)), 401, "invalid_client", "AADSTS700027"},
		"signed with another key":  {w.tenant.ID, signed(assertion(azure.NewCertificate("x"), cert, nil)), 401, "invalid_client", "AADSTS700027"},
		"another issuer":           {w.tenant.ID, signed(gitLab.Sign(sub, aud, nil)), 401, "invalid_client", "AADSTS700211"},
		"another subject":          {w.tenant.ID, signed(gitHub.Sign("repo:evil/app:ref:refs/heads/main", aud, nil)), 401, "invalid_client", "AADSTS700213"},
		"another audience":         {w.tenant.ID, signed(gitHub.Sign(sub, "sts.amazonaws.com", nil)), 401, "invalid_client", "AADSTS700212"},
		"an expired token":         {w.tenant.ID, signed(gitHub.Sign(sub, aud, map[string]any{"exp": w.c.Now().Add(-time.Minute).Unix()})), 401, "invalid_client", "AADSTS700024"},
		"a forged token":           {w.tenant.ID, signed(fakecloud.Start(t).Issuer(fakecloud.GitHubIssuer).Sign(sub, aud, nil)), 401, "invalid_client", "AADSTS5013"},
		"no JWT":                   {w.tenant.ID, signed("nonsense"), 401, "invalid_client", "AADSTS50027"},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.do(t, "POST", "https://login.microsoftonline.com/"+tc.tenant+"/oauth2/v2.0/token", form(tc.form...))
			if got.status != tc.status || got.text("error") != tc.error || !strings.HasPrefix(got.text("error_description"), tc.aadsts) {
				t.Errorf("%d %v", got.status, got.body)
			}
			if tc.status == 200 && (got.text("access_token") == "" || got.body["expires_in"] != float64(3599)) {
				t.Errorf("%v", got.body)
			}
		})
	}
	if got := w.do(t, "POST", endpoint+"?"+form(with("client_secret", secret)...), ""); got.status != 400 {
		t.Errorf("parameters in the address: %d %v", got.status, got.body)
	}
}

func TestUsersLoginsEnd(t *testing.T) {
	w := newWorld(t)
	jane := w.tenant.User("jane@contoso.example")
	base := "https://login.microsoftonline.com/organizations/oauth2/v2.0/"
	const scope = azure.RegistryAudience + "/.default openid offline_access"
	start := func() response {
		return w.do(t, "POST", base+"devicecode", form("client_id", azure.CLIClient, "scope", scope))
	}
	poll := func(d response) response {
		return w.do(t, "POST", base+"token", form("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", azure.CLIClient, "device_code", d.text("device_code"), "scope", scope, "client_info", "1"))
	}
	d := start()
	if got := poll(d); got.status != 400 || got.text("error") != "authorization_pending" {
		t.Errorf("pending: %v", got.body)
	}
	w.az.SlowDown(1)
	if got := poll(d); got.text("error") != "slow_down" {
		t.Errorf("slow down: %v", got.body)
	}
	if codes := w.az.Codes(); !slices.Equal(codes, []string{d.text("user_code")}) {
		t.Errorf("codes %q", codes)
	}
	if err := w.az.Approve(d.text("user_code"), jane); err != nil {
		t.Fatal(err)
	}
	done := poll(d)
	if done.status != 200 || done.text("refresh_token") == "" || done.text("id_token") == "" || done.text("client_info") == "" {
		t.Fatalf("approved: %v", done.body)
	}
	if got := poll(d); got.text("error") != "invalid_grant" {
		t.Errorf("spent: %v", got.body)
	}
	declined := start()
	_ = w.az.Decline(declined.text("user_code"))
	if got := poll(declined); got.text("error") != "authorization_declined" {
		t.Errorf("declined: %v", got.body)
	}
	late := start()
	w.c.Advance(16 * time.Minute)
	if got := poll(late); got.text("error") != "expired_token" {
		t.Errorf("expired: %v", got.body)
	}
	if err := w.az.Approve(late.text("user_code"), jane); err == nil {
		t.Error("an expired code was taken")
	}

	refresh := func() response {
		return w.do(t, "POST", "https://login.microsoftonline.com/"+w.tenant.ID+"/oauth2/v2.0/token", form("grant_type", "refresh_token", "client_id", azure.CLIClient, "refresh_token", done.text("refresh_token"), "scope", scope))
	}
	if got := refresh(); got.status != 200 || got.text("refresh_token") == done.text("refresh_token") {
		t.Errorf("refresh: %v", got.body)
	}
	jane.DemandMFA(true)
	if got := refresh(); got.text("error") != "interaction_required" {
		t.Errorf("mfa: %v", got.body)
	}
	jane.DemandMFA(false)
	elsewhere := w.az.Tenant(azure.Public, "")
	if got := w.do(t, "POST", "https://login.microsoftonline.com/"+elsewhere.ID+"/oauth2/v2.0/token", form("grant_type", "refresh_token", "client_id", azure.CLIClient, "refresh_token", done.text("refresh_token"), "scope", scope)); !strings.HasPrefix(got.text("error_description"), "AADSTS50020") {
		t.Errorf("elsewhere: %v", got.body)
	}
	jane.SignOut()
	if got := refresh(); got.text("error") != "invalid_grant" || !strings.HasPrefix(got.text("error_description"), "AADSTS50173") {
		t.Errorf("signed out: %v", got.body)
	}
	w.c.Advance(91 * 24 * time.Hour)
	jane.Disable()
	if got := refresh(); !strings.HasPrefix(got.text("error_description"), "AADSTS50057") {
		t.Errorf("disabled: %v", got.body)
	}
}

func TestMetadataServiceWantsItsHeaderAndNames(t *testing.T) {
	w := newWorld(t)
	one, two := w.tenant.ManagedIdentity("one"), w.tenant.ManagedIdentity("two")
	m := w.az.Machine("imds", nil, one, two)
	address := func(q string) string {
		return m.IMDS + "/metadata/identity/oauth2/token?resource=" + url.QueryEscape(azure.RegistryAudience) + q
	}
	const version = "&api-version=2018-02-01"
	for name, tc := range map[string]struct {
		url    string
		header []string
		status int
	}{
		"as it should be":    {address(version + "&client_id=" + one.ClientID), []string{"Metadata", "true"}, 200},
		"no header":          {address(version + "&client_id=" + one.ClientID), nil, 400},
		"forwarded":          {address(version + "&client_id=" + one.ClientID), []string{"Metadata", "true", "X-Forwarded-For", "10.0.0.1"}, 400},
		"no version":         {address("&client_id=" + one.ClientID), []string{"Metadata", "true"}, 400},
		"which of two":       {address(version), []string{"Metadata", "true"}, 400},
		"somebody else":      {address(version + "&client_id=" + w.pusher.ClientID), []string{"Metadata", "true"}, 400},
		"object as client":   {address(version + "&client_id=" + one.ObjectID), []string{"Metadata", "true"}, 400},
		"another path":       {m.IMDS + "/latest/meta-data", []string{"Metadata", "true"}, 404},
		"App Service's name": {address(version + "&mi_res_id=" + url.QueryEscape(one.ResourceID)), []string{"Metadata", "true"}, 400},
	} {
		got := w.do(t, "GET", tc.url, "", tc.header...)
		if got.status != tc.status {
			t.Errorf("%s: %d %v", name, got.status, got.body)
		}
		if tc.status == 200 && (got.text("expires_in") != "86399" || got.text("expires_on") == "") {
			t.Errorf("%s: %v", name, got.body)
		}
	}
	m.Deny()
	if got := w.do(t, "GET", address(version), "", "Metadata", "true"); got.status != 400 || got.text("error_description") != "Identity not found" {
		t.Errorf("none: %v", got.body)
	}
	app := w.az.Machine("site", one)
	if got := w.do(t, "GET", app.IdentityEndpoint+"?api-version=2019-08-01&resource="+azure.RegistryAudience, "", "X-IDENTITY-HEADER", "wrong"); got.status != 401 {
		t.Errorf("a wrong header: %d", got.status)
	}
}
