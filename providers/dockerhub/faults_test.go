// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oauth"
	"github.com/regmint/regmint/providers/internal/oidc"
)

const faultSecret = "dckr_oat_canary0123456789abcdefghij"

// faulty are the calls to Docker's services, at a server that fails.
func faulty(t *testing.T) map[string]func(ctx context.Context, d providers.Deps, at string) error {
	return map[string]func(ctx context.Context, d providers.Deps, at string) error{
		"connection": func(ctx context.Context, d providers.Deps, at string) error {
			ref, err := oidc.ParseRef("env:TOKEN")
			if err != nil {
				return err
			}
			s, err := open(account(func(a *providers.Account) {
				a.Options = &Options{OIDCConnection: "0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21", Organization: "acme", WebIdentity: ref, IdentityEndpoint: at}
			}), d)
			if err != nil {
				return err
			}
			_, err = s.Mint(ctx, request(t))
			return err
		},
		"api": func(ctx context.Context, d providers.Deps, at string) error {
			s, err := open(account(func(a *providers.Account) {
				a.Username, a.Password, a.Endpoint = "acme", providers.SecretRef{Scheme: "env", Value: "TOKEN"}, at
			}), d)
			if err != nil {
				return err
			}
			_, err = s.MintNative(ctx, request(t))
			return err
		},
		"device login": func(ctx context.Context, d providers.Deps, at string) error {
			a := account(func(a *providers.Account) { a.Layer, a.Options = providers.LayerSaved, &Options{LoginEndpoint: at} })
			_, err := Provider{}.Login(ctx, providers.LoginRequest{Host: providers.DockerHub, Account: a, Deps: d, UI: &person{}})
			return err
		},
		"refresh": func(ctx context.Context, d providers.Deps, at string) error {
			a := account(func(a *providers.Account) {
				a.Password, a.Options = providers.SecretRef{Scheme: "keyring", Value: "hub"}, &Options{Identity: "device", LoginEndpoint: at}
			})
			pair := oauth.Pair{Access: "ended", Refresh: faultSecret, User: "jane", Made: "dckr_pat_made", Issuer: at + "/oauth/token", ClientID: cliClient, ExpiresAt: d.Now().Add(-time.Hour)}
			if err := d.Save(ctx, a.Password, pair.Secret()); err != nil {
				return err
			}
			s, err := open(a, d)
			if err != nil {
				return err
			}
			_, err = s.MintNative(ctx, request(t))
			return err
		},
	}
}

// TestEveryFaultHasItsKindAndItsTime covers H41-H50: whatever Docker's services
// do, the answer comes in time, with the right kind and without the secret.
func TestEveryFaultHasItsKindAndItsTime(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	faults := httpxtest.Faults()
	for name, call := range faulty(t) {
		for _, f := range faults {
			if f.Stuck && name == "refresh" { // waits for its answer, whoever left
				continue
			}
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				t.Parallel()
				deps, log := httpxtest.Deps(t, map[string]string{"env:TOKEN": faultSecret})
				deps.Network = providers.Network{CAFile: ca.File(), NoProxy: "*"}
				ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
				defer cancel()
				err := call(ctx, deps, "https://"+f.Start(t, ca))
				if err == nil {
					t.Fatal("no error")
				}
				kind := f.Kind
				switch {
				case kind == "":
					kind = providers.Unavailable
				case f.Name == "401" && name == "connection":
					kind = providers.Denied
				}
				e, ok := errors.AsType[*providers.Error](err)
				if !ok || e.Kind != kind || e.Host != providers.DockerHub {
					t.Errorf("want %s, got %T %v", kind, err, err)
				}
				if len(httpxtest.Leaks(err.Error()+log.String(), faultSecret)) > 0 {
					t.Errorf("a secret in %v", err)
				}
			})
		}
	}
}
