// SPDX-License-Identifier: Apache-2.0

package httpexchange_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/httpexchange"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
)

const canary = "CNRYexchange0123456789abcdef01234"

func ref(t *testing.T, s string) providers.SecretRef {
	t.Helper()
	r, err := providers.ParseSecretRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func identity(t *testing.T, s string) oidc.Ref {
	t.Helper()
	r, err := oidc.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func jwt(aud string) string {
	p := fmt.Sprintf(`{"aud":%q,"exp":4102444800,"sub":"repo:acme/app:ref:refs/heads/main"}`, aud)
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(p)) + "." + canary
}

// open opens an account whose references resolve to secrets.
func open(t *testing.T, a providers.Account, secrets map[string]string) (providers.Source, *httpxtest.Log) {
	t.Helper()
	deps, log := httpxtest.Deps(t, secrets)
	a.Name = "exchange"
	s, err := httpexchange.New().Open(a, deps)
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

func request(t *testing.T, gs ...providers.Grant) providers.Request {
	t.Helper()
	return providers.Request{Host: httpxtest.Host(t, "reg.example"), Grants: gs}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":"refused"}`, code)
}

// sts is a token service in the shapes that products use. Each refuses what
// the product refuses.
func sts(aud string) http.Handler {
	mux := http.NewServeMux()
	// RFC 8693.
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Content-Type") != "application/x-www-form-urlencoded",
			r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange",
			r.PostForm.Has("scope") && r.PostFormValue("scope") == "":
			refuse(w, 400, "invalid_request")
		case r.PostFormValue("subject_token") != jwt(aud):
			refuse(w, 400, "invalid_grant")
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "minted for " + r.PostFormValue("scope"), "token_type": "Bearer", "expires_in": 600})
		}
	})
	// Robot federation of Quay: Basic of robot and JWT, only "token" in the answer.
	mux.HandleFunc("GET /oauth2/federation/robot/token", func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		if u != "acme+ci" || p != jwt(aud) {
			refuse(w, 401, "UNAUTHORIZED")
			return
		}
		_, _ = io.WriteString(w, `{"token":"robot-token"}`)
	})
	// JFrog: JSON in and out, the user name in the answer.
	mux.HandleFunc("POST /access/api/v1/oidc/token", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if json.NewDecoder(r.Body).Decode(&in) != nil || r.Header.Get("Content-Type") != "application/json" || in["provider_name"] != "github \"main\"" || in["subject_token"] != jwt(aud) {
			refuse(w, 400, "bad request")
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"jfrog-token","username":"ci-user","expires_in":"3600"}`)
	})
	// Vault: a header, a lease.
	mux.HandleFunc("GET /v1/artifactory/token/{role}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != canary {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"lease_duration":120,"data":{"users":[{"name":%q,"secret.value":"leased"}]}}`, r.PathValue("role"))
	})
	return mux
}

func TestMintsInTheShapesOfRealTokenServices(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	srv := ca.Server(t, sts("sts.example"))
	secrets := map[string]string{"env:ID": jwt("sts.example"), "keyring:vault": canary}
	subject := "{{.IdentityToken}}"
	for _, tc := range []struct {
		name           string
		account        providers.Account
		options        *httpexchange.Options
		grants         []providers.Grant
		user, password string
		life           time.Duration
		wider          bool
	}{
		{name: "RFC 8693", account: providers.Account{Username: "oauth2"}, options: &httpexchange.Options{
			URL: srv.URL + "/oauth/token", IdentityToken: identity(t, "env:ID"), Audience: "sts.example",
			Form:         map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": subject, "scope": "{{.Scope}}"},
			PasswordPath: "access_token", ExpiresInPath: "expires_in",
		}, user: "oauth2", password: "minted for ", life: 10 * time.Minute},
		{
			name: "RFC 8693, narrowed", account: providers.Account{Username: "oauth2"}, options: &httpexchange.Options{
				URL: srv.URL + "/oauth/token", IdentityToken: identity(t, "gitlab:ID"), Audience: "sts.example",
				Form:         map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": subject, "scope": "{{.Scope}}"},
				PasswordPath: "access_token", ExpiresInPath: "expires_in",
			},
			grants: []providers.Grant{{Repository: "a/b", Access: providers.Pull}, {Repository: "c", Access: providers.Push}},
			user:   "oauth2", password: "minted for repository:a/b:pull repository:c:pull,push", life: 10 * time.Minute,
		},
		{
			name: "Quay", account: providers.Account{Username: "acme+ci", ExpiresIn: providers.Duration(time.Hour)}, options: &httpexchange.Options{
				URL: srv.URL + "/oauth2/federation/robot/token", Method: "GET", IdentityToken: identity(t, "env:ID"),
				Headers:      map[string]string{"Authorization": `Basic {{base64 .Username ":" .IdentityToken}}`},
				PasswordPath: "token",
			}, grants: []providers.Grant{{Repository: "a", Access: providers.Pull}},
			user: "acme+ci", password: "robot-token", life: time.Hour, wider: true,
		},
		{name: "JFrog", options: &httpexchange.Options{
			URL: srv.URL + "/access/api/v1/oidc/token", IdentityToken: identity(t, "env:ID"),
			JSON:         map[string]string{"provider_name": `github "main"`, "subject_token": subject},
			UsernamePath: "username", PasswordPath: "access_token", ExpiresInPath: "expires_in",
		}, user: "ci-user", password: "jfrog-token", life: time.Hour},
		{name: "JFrog, body by hand", options: &httpexchange.Options{
			URL: srv.URL + "/access/api/v1/oidc/token", IdentityToken: identity(t, "env:ID"), ContentType: "application/json",
			Body:         `{"provider_name": {{json "github \"main\""}}, "subject_token": {{.IdentityToken | json}}}`,
			UsernamePath: "username", PasswordPath: "access_token", ExpiresInPath: "expires_in",
		}, user: "ci-user", password: "jfrog-token", life: time.Hour},
		{name: "Vault", options: &httpexchange.Options{
			URL: srv.URL + "/v1/artifactory/token/{{.Host | urlquery}}", Method: "GET", Secret: ref(t, "keyring:vault"), Headers: map[string]string{"X-Vault-Token": "{{.Secret}}"},
			UsernamePath: "data.users[0].name", PasswordPath: `data.users[0]["secret.value"]`, ExpiresInPath: "lease_duration",
		}, user: "reg.example", password: "leased", life: 2 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.account.CAFile, tc.account.Options = ca.File(), tc.options
			s, log := open(t, tc.account, secrets)
			c, err := s.Mint(t.Context(), request(t, tc.grants...))
			if err != nil {
				t.Fatal(err)
			}
			if c.Username != tc.user || c.Secret.Reveal() != tc.password || c.Life() != tc.life || c.Wider != tc.wider || !strings.HasPrefix(c.Origin, "exchanged at 127.0.0.1") {
				t.Errorf("got %+v, secret %q, life %v", c, c.Secret.Reveal(), c.Life())
			}
			if e, ok := s.(providers.EarlyRefresher); !ok || !e.RefreshEarly() {
				t.Error("short credentials must be renewed early")
			}
			for _, leak := range []string{canary, tc.password} {
				if len(httpxtest.Leaks(log.String(), leak)) > 0 {
					t.Errorf("secret in the log %s", log)
				}
			}
		})
	}
}

// basicAccount is an exchange that posts a secret.
func basicAccount(url string) (providers.Account, map[string]string) {
	r, _ := providers.ParseSecretRef("keyring:sts")
	return providers.Account{Username: "ci", Password: r, ExpiresIn: providers.Duration(time.Hour), Options: &httpexchange.Options{
		URL: url, Form: map[string]string{"secret": "{{.Secret}}"}, Headers: map[string]string{"Authorization": "Bearer {{.Secret}}"}, Retry: true, PasswordPath: "token",
	}}, map[string]string{"keyring:sts": canary}
}
