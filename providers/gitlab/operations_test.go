// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"context"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

// broken is a GitLab on loopback that has one fault.
type broken struct {
	t    *testing.T
	at   string // host:port
	deps providers.Deps
	base providers.Account
}

func (b broken) open(o gitlab.Options, edit ...func(*providers.Account)) (providers.Source, error) {
	a := b.base
	o.URL = "https://" + b.at
	a.Options = &o
	for _, e := range edit {
		e(&a)
	}
	return gitlab.New().Open(a, b.deps)
}

const (
	otherCanary = "cnry-refresh-0123456789abcdef0123456789"
	pairUntil   = `{"access_token":"` + canary + `","refresh_token":"` + otherCanary + `","expires_at":"%d-01-01T00:00:00Z","issuer":"https://%s/oauth/token","client_id":"x"}`
)

func keptAs(name string) func(*providers.Account) {
	return func(a *providers.Account) { a.Password = providers.SecretRef{Scheme: "keyring", Value: name} }
}

// operation asks GitLab something as one identity. passes are the faults that are
// no failure of it.
type operation struct {
	passes func(f httpxtest.Fault) bool
	run    func(ctx context.Context, b broken) error
}

func never(httpxtest.Fault) bool { return false }

// unseen: what the API does not say is no reason to keep a token back, since the
// registry may take it.
func unseen(f httpxtest.Fault) bool { return f.Kind != providers.LoginRequired }

// open: a registry that answers anything at all to GET /v2/ is open to everybody.
func open(f httpxtest.Fault) bool { return f.Kind == "" }

// ended: a token that is refused has ended.
func ended(f httpxtest.Fault) bool { return f.Kind == providers.LoginRequired }

const (
	refreshing = "a login in the browser is refreshed"
	making     = "a token for a job is made"
	verifying  = "a job's token is verified"
)

// everywhere are the faults that every operation meets. The others end in the
// same lines of package httpx for all: they are for one of each kind of request.
var everywhere = map[string]bool{
	"401": true, "403": true, "404": true, "429 without Retry-After": true, "503": true, "garbage JSON": true, "empty object": true, "null": true,
	"HTML page": true, "hang before headers": true, "connection reset": true, elsewhere: true, repeated: true, refused: true,
}

const (
	elsewhere = "a redirect to another origin"
	repeated  = "a page whose address repeats the request"
	refused   = "a refusal whose address repeats the request"
)

func minted(ctx context.Context, s providers.Source, err error, q providers.Request) error {
	if err != nil {
		return err
	}
	_, err = s.Mint(ctx, q)
	return err
}

var operations = map[string]operation{
	"a token is handed out": {unseen, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{}, keptAs("pat"))
		return minted(ctx, s, err, b.request(""))
	}},
	"the login of glab is handed out": {unseen, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{Glab: true})
		return minted(ctx, s, err, b.request(""))
	}},
	refreshing: {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{ClientID: "x"}, keptAs("over"))
		return minted(ctx, s, err, b.request(""))
	}},
	"a login in the browser begins": {never, func(ctx context.Context, b broken) error {
		a := b.base
		a.Options, a.Layer = &gitlab.Options{URL: "https://" + b.at, ClientID: "x"}, providers.LayerSaved
		_, err := gitlab.New().Login(ctx, providers.LoginRequest{Host: b.request("").Host, Account: a, Deps: b.deps, UI: &person{}})
		return err
	}},
	making: {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{Project: "acme/app"}, keptAs("pat"))
		return minted(ctx, s, err, b.request("j"))
	}},
	"a native token for a job is made": {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{Group: "acme", ClientID: "x"}, keptAs("pair"))
		if err == nil {
			_, err = s.(providers.NativeMinter).MintNative(ctx, b.request("j"))
		}
		return err
	}},
	"a token for a job is revoked": {ended, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{Project: "acme/app"}, keptAs("pat"))
		if err == nil {
			err = s.(providers.Revoker).Revoke(ctx, b.request("j"), providers.Credential{Secret: providers.NewSecret(otherCanary)})
		}
		return err
	}},
	"tokens of a job are swept": {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{Project: "acme/app"}, keptAs("pat"))
		if err == nil {
			err = s.(providers.Sweeper).Sweep(ctx, b.request("j"))
		}
		return err
	}},
	"a native token is looked at": {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{}, keptAs("pat"))
		if err == nil {
			_, err = s.(providers.NativeMinter).MintNative(ctx, b.request(""))
		}
		return err
	}},
	"a native login is looked at": {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{ClientID: "x"}, keptAs("pair"))
		if err == nil {
			_, err = s.(providers.NativeMinter).MintNative(ctx, b.request(""))
		}
		return err
	}},
	"a rotation is planned": {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{}, keptAs("pat"))
		if err == nil {
			_, err = s.(providers.Rotator).RotationPlan(ctx, providers.NewSecret(canary))
		}
		return err
	}},
	"a token is asked whether it lives": {never, func(ctx context.Context, b broken) error {
		s, err := b.open(gitlab.Options{}, keptAs("pat"))
		if err == nil {
			err = s.(providers.Rotator).Alive(ctx, providers.NewSecret(canary))
		}
		return err
	}},
	verifying: {open, func(ctx context.Context, b broken) error {
		b.deps.Env = map[string]string{"CI_JOB_TOKEN": canary, "CI_REGISTRY": b.at}
		a := b.base
		a.Options, a.Layer = &gitlab.Options{}, providers.LayerAmbient
		s, err := gitlab.New().Open(a, b.deps)
		if err != nil {
			return err
		}
		q := providers.Request{Host: httpxtest.Host(b.t, b.at)}
		c, err := s.Mint(ctx, q)
		if err == nil {
			err = s.(providers.Verifier).Verify(ctx, q, c)
		}
		return err
	}},
}

func (b broken) request(job string) providers.Request {
	return providers.Request{Host: httpxtest.Host(b.t, "reg.example"), Job: job}
}
