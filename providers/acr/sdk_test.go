// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// recorder is an authority that takes everything and keeps the last form.
type recorder struct {
	mu   sync.Mutex
	form url.Values
	path string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	base := "https://" + q.Host + "/tenant"
	if strings.HasSuffix(q.URL.Path, "/openid-configuration") {
		fakecloud.WriteJSON(w, http.StatusOK, map[string]string{
			"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
		})
		return
	}
	_ = q.ParseForm()
	r.mu.Lock()
	r.form, r.path = q.PostForm, q.URL.Path
	r.mu.Unlock()
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": "a.b.c"})
}

func (r *recorder) last() (string, url.Values) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.path, maps.Clone(r.form)
}

// jwt is a token's header and claims.
func jwt(t *testing.T, token string) (head, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	for i, into := range []*map[string]any{&head, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return head, claims
}

// TestEntraIsAskedAsByAzidentity: Microsoft's own library is the judge of what
// a token endpoint wants.
func TestEntraIsAskedAsByAzidentity(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rec := &recorder{}
	r.cloud.Handle("login.recorder.example", rec)
	const authority = "https://login.recorder.example"
	client := azcore.ClientOptions{Transport: r.cloud.Client(), Cloud: azcloud.Configuration{ActiveDirectoryAuthorityHost: authority + "/"}}
	assertion := r.cloud.Issuer(fakecloud.GitHubIssuer).Sign(subject, defaultWebAudience, nil)
	cert := azure.NewCertificate("app")
	pem := r.file("app.pem", string(cert.PEM))
	r.secrets["env:JWT"] = assertion
	with := func(edit func(*Options)) Options {
		o := Options{TenantID: "tenant", ClientID: "client", AuthorityHost: authority}
		edit(&o)
		return o
	}
	for name, tc := range map[string]struct {
		ours   Options
		theirs func() (azcore.TokenCredential, error)
	}{
		"secret": {with(func(o *Options) { o.ClientSecret = ref(t, "keyring:app") }), func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential("tenant", "client", r.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: client, DisableInstanceDiscovery: true})
		}},
		"assertion": {with(func(o *Options) { o.WebIdentity = webIdentity(t, "env:JWT") }), func() (azcore.TokenCredential, error) {
			return azidentity.NewClientAssertionCredential("tenant", "client", func(context.Context) (string, error) { return assertion, nil },
				&azidentity.ClientAssertionCredentialOptions{ClientOptions: client, DisableInstanceDiscovery: true})
		}},
		"certificate": {with(func(o *Options) { o.Certificate, o.SendChain = ref(t, "file:"+pem), true }), func() (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential("tenant", "client", []*x509.Certificate{cert.Cert}, cert.Key,
				&azidentity.ClientCertificateCredentialOptions{ClientOptions: client, DisableInstanceDiscovery: true, SendCertificateChain: true})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tc.theirs()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{defaultAudience + "/.default"}}); err != nil {
				t.Fatal(err)
			}
			path, want := rec.last()
			if _, _, err := r.with(t).open(tc.ours).entraToken(t.Context(), r.host, defaultAudience, false); err != nil {
				t.Fatal(err)
			}
			ourPath, got := rec.last()
			same(t, path, want, ourPath, got)
		})
	}
}

// same compares two token requests. What the library asks for beside the
// resource (openid profile offline_access, client_info) is for people's tokens.
func same(t *testing.T, path string, want url.Values, ourPath string, got url.Values) {
	t.Helper()
	delete(want, "client_info")
	if path != ourPath || !slices.Contains(strings.Fields(want.Get("scope")), got.Get("scope")) {
		t.Errorf("%s with scope %q, not %s with %q", ourPath, got.Get("scope"), path, want.Get("scope"))
	}
	if a := want.Get("client_assertion"); strings.HasPrefix(a, "eyJ") && a != got.Get("client_assertion") {
		head, claims := jwt(t, a)
		ourHead, ourClaims := jwt(t, got.Get("client_assertion"))
		for _, k := range []string{"alg", "typ", "x5t#S256"} {
			// The library writes plain base64 where RFC 7515 section 4.1.8 has
			// base64url; Entra reads both.
			if strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(text(head[k])) != text(ourHead[k]) {
				t.Errorf("header %s: %v, not %v", k, ourHead[k], head[k])
			}
		}
		if a, b := text(head["x5c"]), text(ourHead["x5c"]); a != b {
			t.Errorf("x5c %s, not %s", b, a)
		}
		for _, k := range []string{"aud", "iss", "sub"} {
			if text(claims[k]) != text(ourClaims[k]) {
				t.Errorf("claim %s: %v, not %v", k, ourClaims[k], claims[k])
			}
		}
		want.Del("client_assertion")
		got.Del("client_assertion")
	}
	want.Del("scope")
	got.Del("scope")
	if got.Encode() != want.Encode() {
		t.Errorf("form %v, not %v", got, want)
	}
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return strings.ReplaceAll(string(b), `"`, "")
}
