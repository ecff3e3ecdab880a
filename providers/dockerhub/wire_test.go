// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oauth"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// wire answers for Docker's services and keeps what it was asked.
type wire struct {
	mu   sync.Mutex
	seen []string
}

func (w *wire) ServeHTTP(res http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	line := r.Method + " " + r.URL.String()
	for _, k := range []string{"Content-Type", "Accept", "Authorization"} {
		if v := r.Header.Get(k); v != "" {
			line += "\n" + k + ": " + v
		}
	}
	w.seen = append(w.seen, line+"\n"+string(body))
	res.Header().Set("Content-Type", "application/json")
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"https://hub.docker.com":{"username":"jane"}}`))
	switch r.URL.Path {
	case "/oauth/device/code":
		_, _ = io.WriteString(res, `{"device_code":"DEV","user_code":"ABCD-EFGH","verification_uri_complete":"https://login.docker.com/activate?user_code=ABCD-EFGH","expires_in":900,"interval":5}`)
	case "/oauth/token":
		_, _ = fmt.Fprintf(res, `{"access_token":"e30.%s.x","refresh_token":"REF","expires_in":3600,"token_type":"Bearer"}`, claims)
	case "/v2/access-tokens/desktop-generate":
		res.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(res, `{"data":{"token":"dckr_pat_MADE"}}`)
	case "/v2/users/2fa-login":
		_, _ = io.WriteString(res, `{"token":"JWT"}`)
	case "/v2/users/login":
		res.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(res, `{"detail":"Require secondary authentication on MFA enabled account","login_2fa_token":"HALF"}`)
	case "/v2/auth/token":
		res.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(res, `{"detail":"Incorrect authentication credentials"}`)
	}
}

// wireID is the connection of these requests.
const wireID = "0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21"

// person logs in with a code, renews the login and logs out. It returns the
// access token.
func (w *wire) person(t *testing.T, at string, deps providers.Deps) string {
	t.Helper()
	a := account(func(a *providers.Account) {
		a.Layer, a.Endpoint, a.Options = providers.LayerSaved, at, &Options{LoginEndpoint: at}
	})
	p := &person{}
	never := func(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil }
	res, err := login(t.Context(), providers.LoginRequest{Host: providers.DockerHub, Account: a, Deps: deps, UI: p}, never)
	if err != nil || res.Who != "jane" {
		t.Fatalf("%+v %v", res, err)
	}
	if len(p.shown) != 1 || p.shown[0].Code != "ABCD-EFGH" || p.shown[0].URL != "https://login.docker.com/activate?user_code=ABCD-EFGH" {
		t.Errorf("shown %+v", p.shown)
	}
	kept := res.Account
	kept.Password = providers.SecretRef{Scheme: "keyring", Value: "hub"}
	_ = deps.Save(t.Context(), kept.Password, res.Secret)
	pair, _ := oauth.ParsePair(res.Secret)
	if _, err := w.open(t, kept, deps).oauth(providers.DockerHub).Renew(t.Context(), deps, kept.Password, pair.Access); err != nil {
		t.Error(err)
	}
	Provider{}.EndLogin(t.Context(), providers.EndRequest{Host: providers.DockerHub, Account: kept, Secret: res.Secret, Deps: deps})
	return pair.Access
}

func (w *wire) open(t *testing.T, a providers.Account, deps providers.Deps) *source {
	t.Helper()
	s, err := open(a, deps)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// robots are a password with two-factor authentication at the API, and a
// connection.
func (w *wire) robots(t *testing.T, at string, deps providers.Deps) {
	t.Helper()
	s := w.open(t, account(func(a *providers.Account) {
		a.Username, a.Password, a.Endpoint = "jane", providers.SecretRef{Scheme: "env", Value: "PASSWORD"}, at
		a.Options = &Options{TwoFactorCode: providers.SecretRef{Scheme: "env", Value: "CODE"}}
	}), deps)
	if n, err := s.MintNative(t.Context(), request(t)); err != nil || n.Secret.Reveal() != "JWT" {
		t.Error(err)
	}
	ref, err := oidc.ParseRef("env:IDT")
	if err != nil {
		t.Fatal(err)
	}
	s = w.open(t, account(func(a *providers.Account) {
		a.Options = &Options{OIDCConnection: wireID, Organization: "acme", WebIdentity: ref, IdentityEndpoint: at}
	}), deps)
	if _, err := s.Mint(t.Context(), request(t)); err != nil {
		t.Error(err)
	}
}

// The requests as the docker command, docker/login-action and the API's
// reference have them; more or other fields would be somebody else's protocol.
func TestRequestsAreThoseOfDockersOwnTools(t *testing.T) {
	t.Parallel()
	w := &wire{}
	ca := httpxtest.NewCA(t)
	at := ca.Server(t, w).URL
	deps, _ := httpxtest.Deps(t, map[string]string{"env:PASSWORD": "horse", "env:CODE": "123456", "env:IDT": "IDT"})
	deps.Network = providers.Network{CAFile: ca.File(), NoProxy: "*"}
	access := w.person(t, at, deps)
	w.robots(t, at, deps)
	const (
		form   = "Content-Type: application/x-www-form-urlencoded\nAccept: application/json\n"
		asJSON = "Content-Type: application/json\nAccept: application/json\n"
		client = "client_id=L4v0dmlNBpYUjGGab0C2JtgTgXr1Qz4d"
		urn    = "urn%3Aietf%3Aparams%3Aoauth%3A"
	)
	want := []string{
		"POST /oauth/device/code\n" + form + "audience=https%3A%2F%2Fhub.docker.com&" + client + "&scope=openid+offline_access",
		"POST /oauth/token\n" + form + client + "&device_code=DEV&grant_type=" + urn + "grant-type%3Adevice_code",
		"POST /v2/access-tokens/desktop-generate\nAccept: application/json\nAuthorization: Bearer " + access + "\n",
		"POST /oauth/token\n" + form + client + "&grant_type=refresh_token&refresh_token=REF",
		"POST /oauth/revoke\n" + form + client + "&token=REF",
		"POST /v2/auth/token\n" + asJSON + `{"identifier":"jane","secret":"horse"}`,
		"POST /v2/users/login\n" + asJSON + `{"password":"horse","username":"jane"}`,
		"POST /v2/users/2fa-login\n" + asJSON + `{"code":"123456","login_2fa_token":"HALF"}`,
		"POST /oauth/token\n" + form + "connection_id=" + wireID + "&expires_in=300&grant_type=" + urn + "grant-type%3Atoken-exchange" +
			"&subject_token=IDT&subject_token_type=" + urn + "token-type%3Aid_token",
	}
	if !slices.Equal(w.seen, want) {
		t.Errorf("got:\n%s\n\nwant:\n%s", strings.Join(w.seen, "\n\n"), strings.Join(want, "\n\n"))
	}
}
