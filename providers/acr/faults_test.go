// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// TestEveryFaultOfEntraHasItsKindAndItsTime covers H41-H50: whatever Entra
// does, the answer comes in time, with the right kind and without the secret.
func TestEveryFaultOfEntraHasItsKindAndItsTime(t *testing.T) {
	t.Parallel()
	ca, base := httpxtest.NewCA(t), newRig(t)
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			r := base.with(t)
			r.deps.Network = providers.Network{CAFile: ca.File(), NoProxy: "*"}
			o := r.bySecret()
			o.AuthorityHost = "https://" + f.Start(t, ca)
			s := r.open(o)
			ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
			defer cancel()
			_, err := s.Mint(ctx, providers.Request{Host: r.host})
			kind, want := f.Kind, f.Want
			switch {
			case kind == "": // a success that holds no token
				kind, want = providers.Unavailable, ""
			case f.Server != nil: // httpx words what is below HTTP, and its tests hold it to that
				want = ""
			}
			r.fails(err, kind, want)
		})
	}
}

// TestEveryFaultOfTheRegistryHasItsKindAndItsTime: the same for the exchange.
func TestEveryFaultOfTheRegistryHasItsKindAndItsTime(t *testing.T) {
	t.Parallel()
	ca, base := httpxtest.NewCA(t), newRig(t)
	token := base.az.EntraToken(base.app, azure.RegistryAudience, nil)
	base.secrets["access token"] = token
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			r := base.with(t)
			r.runs(func(context.Context, providers.Command) ([]byte, error) {
				return []byte(`{"accessToken":"` + token + `","expires_on":` + unix(r.cloud.Now().Add(time.Hour)) + `}`), nil
			})
			r.deps.Network = providers.Network{CAFile: ca.File(), NoProxy: "*"}
			at := f.Start(t, ca)
			s := r.open(Options{Identity: identityOf(t, "az")}, func(a *providers.Account) { a.Endpoint = "https://" + at })
			ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
			defer cancel()
			_, err := s.Mint(ctx, providers.Request{Host: r.host})
			kind, want := f.Kind, f.Want
			switch {
			case f.Name == "401": // the identity is known, and may not
				kind, want = providers.Denied, "assign AcrPull"
			case f.Name == "403":
				want = "SOME_CODE"
				if !strings.Contains(err.Error(), want) {
					want = "firewall"
				}
			case kind == "":
				kind, want = providers.Unavailable, ""
			case f.Server != nil:
				want = ""
			}
			r.fails(err, kind, want)
		})
	}
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func TestARegistryThatIsGoneIsNoSuchHost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.reg.Delete()
	_, err := r.mint(r.open(r.bySecret()))
	r.fails(err, providers.Unavailable)
}

func TestAThrottledRegistryIsAskedAgainInItsTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/oauth2/exchange", Times: 1, Status: 429, Header: http.Header{"Retry-After": {"1"}}})
	r.works(s)
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/oauth2/exchange", Status: 429, Header: http.Header{"Retry-After": {"30"}}})
	_, err := r.mint(s)
	r.fails(err, providers.Unavailable, "HTTP 429", "not before")
	if n := r.calls(azure.Public.Authority, "/"); n != 1 {
		t.Errorf("a busy registry cost %d tokens of Entra", n)
	}
}

func TestAProxyThatWantsALoginIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cloud.ProxyAuth("user:pass")
	_, err := r.mint(r.open(r.bySecret()))
	r.fails(err, providers.Misconfigured, "407", "https_proxy")
}

func TestACallerThatLeavesDoesNotSpeakForTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	r.cloud.Inject(fakecloud.Fault{Host: azure.Public.Authority, Times: 1, Delay: 400 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	left := make(chan error, 1)
	go func() {
		_, err := s.Mint(ctx, providers.Request{Host: r.host})
		left <- err
	}()
	for r.cloud.Count(func(fakecloud.Request) bool { return true }) == 0 && len(left) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	r.works(s)
	if err := <-left; providers.KindOf(err) != providers.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestAFailureOfEntraIsSharedByThoseWhoWaited(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.open(r.bySecret())
	r.cloud.Inject(fakecloud.Fault{Host: azure.Public.Authority, Times: 1, Delay: 300 * time.Millisecond, Status: 400, Body: `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}`})
	errs := make(chan error, 5)
	for range 5 {
		go func() {
			_, err := r.mint(s)
			errs <- err
		}()
	}
	for range 5 {
		r.fails(<-errs, providers.LoginRequired, "7000215")
	}
	if n := r.calls(azure.Public.Authority, "/"); n != 1 {
		t.Errorf("%d requests", n)
	}
	r.works(s)
}

func TestNobodyIsAskedByPlainHTTP(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, o := range []Options{{AuthorityHost: "http://login.example"}, {AuthorityHost: "https://u:p@login.example"}, {AuthorityHost: "login.example"}, {AuthorityHost: "https://login.example/?x=1"}} {
		o.TenantID, o.ClientID, o.ClientSecret = r.tenant.ID, r.app.ClientID, ref(t, "keyring:app")
		if _, err := r.shared.open(r.account(o), r.deps); providers.KindOf(err) != providers.Misconfigured {
			t.Errorf("%s: %v", o.AuthorityHost, err)
		}
	}
}
