// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// checkSource verifies, has a rate limit and rights of its own.
type checkSource struct {
	testSource
	p *checkProvider
}

type checkProvider struct {
	testProvider
	refused map[string]bool
	asked   []providers.Request
	limits  int
	hang    bool
	native  error
}

func (p *checkProvider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	return &checkSource{testSource{p: &p.testProvider, a: a, d: d}, p}, nil
}

func (s *checkSource) Verify(_ context.Context, r providers.Request, c providers.Credential) error {
	s.p.asked = append(s.p.asked, r)
	if s.p.refused[c.Secret.Reveal()] {
		return &providers.Error{Kind: providers.LoginRequired, Host: r.Host, Err: errors.New("401")}
	}
	return nil
}

func (s *checkSource) RateLimit(ctx context.Context, r providers.Request, _ providers.Credential) (providers.RateLimit, error) {
	s.p.limits++
	if s.p.hang {
		<-ctx.Done()
		return providers.RateLimit{}, ctx.Err()
	}
	return providers.RateLimit{Limit: 100, Remaining: 87, Who: "acme-bot"}, nil
}

func (s *checkSource) MintNative(context.Context, providers.Request) (providers.Native, error) {
	return providers.Native{}, errors.New("asked for too much")
}

func (s *checkSource) CheckNative(context.Context, providers.Request) error { return s.p.native }

func newCheckRig(t *testing.T) (*rig, *checkProvider) {
	t.Helper()
	r := newRig(t, account("a", "reg.example"))
	p := &checkProvider{testProvider: testProvider{name: "generic", life: time.Hour}, refused: map[string]bool{}}
	r.o.Providers = []providers.Provider{p}
	return r, p
}

func TestCheckAsksTheRegistryForTheTarget(t *testing.T) {
	r, p := newCheckRig(t)
	got := r.Check(t.Context(), nil, &api.GetRequest{Key: "reg.example/acme/app=push"})
	if got.Outcome != api.OK || !got.Verified || got.Username != "robot" || got.RateLimit == nil || got.RateLimit.Remaining != 87 {
		t.Fatalf("%+v", got)
	}
	if len(p.asked) != 1 || len(p.asked[0].Grants) != 1 || p.asked[0].Grants[0].Repository != "acme/app" {
		t.Fatalf("asked for %+v", p.asked)
	}
}

func TestCheckDropsARefusedCredentialOnce(t *testing.T) {
	r, p := newCheckRig(t)
	r.want(nil, "reg.example", api.OK, "a-1")
	p.refused["a-1"] = true
	if got := r.Check(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); got.Outcome != api.OK || p.mintCount() != 2 {
		t.Fatalf("%+v after %d mints", got, p.mintCount())
	}
	r.want(nil, "reg.example", api.OK, "a-2")
	p.refused["a-2"], p.refused["a-3"] = true, true
	got := r.Check(t.Context(), nil, &api.GetRequest{Key: "reg.example"})
	if got.Kind != string(providers.LoginRequired) || p.mintCount() != 3 {
		t.Fatalf("%+v after %d mints", got, p.mintCount())
	}
}

func TestCheckOfTheRightsOfACleanUp(t *testing.T) {
	r, p := newCheckRig(t)
	if got := r.Check(t.Context(), nil, &api.GetRequest{Key: "reg.example", Native: true}); got.Outcome != api.OK || !got.Native {
		t.Fatalf("%+v", got)
	}
	p.native = &providers.Error{Kind: providers.Denied, Err: errors.New("scope delete:packages is missing")}
	if got := r.Check(t.Context(), nil, &api.GetRequest{Key: "reg.example", Native: true}); got.Kind != string(providers.Denied) {
		t.Fatalf("%+v", got)
	}
}

func TestRateLimitsAreAskedForOnceInFiveMinutes(t *testing.T) {
	r, p := newCheckRig(t)
	h, _ := providers.ParseHost("reg.example")
	if got := r.RateLimits(t.Context(), nil, h); len(got) != 0 {
		t.Fatalf("nothing is in memory: %+v", got)
	}
	r.want(nil, "reg.example", api.OK, "a-1")
	for range 3 {
		if got := r.RateLimits(t.Context(), nil, h); len(got) != 1 || got[0].Who != "acme-bot" {
			t.Fatalf("%+v", got)
		}
	}
	if p.limits != 1 {
		t.Fatalf("asked %d times", p.limits)
	}
	if got := r.Status(nil); len(got.RateLimits) != 0 {
		t.Fatalf("plain status asks: %+v", got.RateLimits)
	}
}

func TestAProductThatDoesNotTellItsLimitIsLeftOut(t *testing.T) {
	r, p := newCheckRig(t)
	p.hang = true
	h, _ := providers.ParseHost("reg.example")
	r.want(nil, "reg.example", api.OK, "a-1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := r.RateLimits(ctx, nil, h); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
}

func TestNarrowedCredentialsAreReadBackAsTheyWere(t *testing.T) {
	for _, gs := range [][]providers.Grant{nil, {{Access: providers.Pull}}, {{Repository: "a/b", Access: providers.Push}, {Repository: "c", Access: providers.Push | providers.Delete}}} {
		if back, ok := parseCanonical(canonical(gs)); !ok || canonical(back) != canonical(gs) {
			t.Errorf("%q reads %v %v", canonical(gs), back, ok)
		}
	}
	if _, ok := parseCanonical("a/b=everything "); ok {
		t.Error("an unknown access is taken")
	}
}
