// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// TestEveryFaultHasItsKindAndItsTime covers H41-H50: whatever Docker's services
// do, the answer comes in time, with the right kind and without the secret.
func TestEveryFaultHasItsKindAndItsTime(t *testing.T) {
	t.Parallel()
	const id = "0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21"
	const secret = "dckr_oat_canary0123456789abcdefghij"
	ca := httpxtest.NewCA(t)
	faults := httpxtest.Faults()
	for name, call := range map[string]func(ctx context.Context, d providers.Deps, at string) error{
		"connection": func(ctx context.Context, d providers.Deps, at string) error {
			ref, err := oidc.ParseRef("env:TOKEN")
			if err != nil {
				return err
			}
			a := account(func(a *providers.Account) {
				a.Options = &Options{OIDCConnection: id, Organization: "acme", WebIdentity: ref, IdentityEndpoint: at}
			})
			s, err := open(a, d)
			if err != nil {
				return err
			}
			_, err = s.Mint(ctx, request(t))
			return err
		},
		"api": func(ctx context.Context, d providers.Deps, at string) error {
			a := account(func(a *providers.Account) {
				a.Username, a.Password, a.Endpoint = "acme", providers.SecretRef{Scheme: "env", Value: "TOKEN"}, at
			})
			s, err := open(a, d)
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
	} {
		for _, f := range faults {
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				t.Parallel()
				deps, log := httpxtest.Deps(t, map[string]string{"env:TOKEN": secret})
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
				if len(httpxtest.Leaks(err.Error()+log.String(), secret)) > 0 {
					t.Errorf("a secret in %v", err)
				}
			})
		}
	}
}
