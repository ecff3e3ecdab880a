// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
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

// The requests as the docker command, docker/login-action and the API's
// reference have them; more or other fields would be somebody else's protocol.
func TestRequestsAreThoseOfDockersOwnTools(t *testing.T) {
	t.Parallel()
	const (
		form     = "Content-Type: application/x-www-form-urlencoded\nAccept: application/json\n"
		asJSON   = "Content-Type: application/json\nAccept: application/json\n"
		exchange = "connection_id=0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21&expires_in=300&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=IDT&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token"
		client   = "client_id=L4v0dmlNBpYUjGGab0C2JtgTgXr1Qz4d"
		access   = "e30.eyJodHRwczovL2h1Yi5kb2NrZXIuY29tIjp7InVzZXJuYW1lIjoiamFuZSJ9fQ.x"
	)
	w := &wire{}
	ca := httpxtest.NewCA(t)
	at := ca.Server(t, w).URL
	deps, _ := httpxtest.Deps(t, map[string]string{"env:PASSWORD": "horse", "env:CODE": "123456", "env:IDT": "IDT"})
	deps.Network = providers.Network{CAFile: ca.File(), NoProxy: "*"}
	never := func(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil }

	a := account(func(a *providers.Account) {
		a.Layer, a.Endpoint, a.Options = providers.LayerSaved, at, &Options{LoginEndpoint: at}
	})
	p := &person{}
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
	s, err := open(kept, deps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.oauth(providers.DockerHub).Renew(t.Context(), deps, kept.Password, access); err != nil {
		t.Error(err)
	}
	Provider{}.EndLogin(t.Context(), providers.EndRequest{Host: providers.DockerHub, Account: kept, Secret: res.Secret, Deps: deps})

	s, err = open(account(func(a *providers.Account) {
		a.Username, a.Password, a.Endpoint = "jane", providers.SecretRef{Scheme: "env", Value: "PASSWORD"}, at
		a.Options = &Options{TwoFactorCode: providers.SecretRef{Scheme: "env", Value: "CODE"}}
	}), deps)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.MintNative(t.Context(), request(t)); err != nil || n.Secret.Reveal() != "JWT" {
		t.Error(err)
	}

	ref, err := oidc.ParseRef("env:IDT")
	if err != nil {
		t.Fatal(err)
	}
	s, err = open(account(func(a *providers.Account) {
		a.Options = &Options{OIDCConnection: "0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21", Organization: "acme", WebIdentity: ref, IdentityEndpoint: at}
	}), deps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mint(t.Context(), request(t)); err != nil {
		t.Error(err)
	}
	want := []string{
		"POST /oauth/device/code\n" + form + "audience=https%3A%2F%2Fhub.docker.com&" + client + "&scope=openid+offline_access",
		"POST /oauth/token\n" + form + client + "&device_code=DEV&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code",
		"POST /v2/access-tokens/desktop-generate\nAccept: application/json\nAuthorization: Bearer " + access + "\n",
		"POST /oauth/token\n" + form + client + "&grant_type=refresh_token&refresh_token=REF",
		"POST /oauth/revoke\n" + form + client + "&token=REF",
		"POST /v2/auth/token\n" + asJSON + `{"identifier":"jane","secret":"horse"}`,
		"POST /v2/users/login\n" + asJSON + `{"password":"horse","username":"jane"}`,
		"POST /v2/users/2fa-login\n" + asJSON + `{"code":"123456","login_2fa_token":"HALF"}`,
		"POST /oauth/token\n" + form + exchange,
	}
	for i := range max(len(want), len(w.seen)) {
		if i >= len(want) || i >= len(w.seen) || want[i] != w.seen[i] {
			t.Fatalf("request %d:\ngot  %q\nwant %q", i, slices.Concat(w.seen, []string{""})[min(i, len(w.seen))], slices.Concat(want, []string{""})[min(i, len(want))])
		}
	}
}
