// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

// T1: every fault of GitLab, whatever is asked as whom, is an error with a kind
// and the host, in time, without a secret.
func TestEveryFaultHasAKindForEveryIdentity(t *testing.T) {
	t.Parallel()
	faults := httpxtest.Faults()
	faults = append(faults, httpxtest.Fault{Name: elsewhere, Kind: providers.Unavailable, Want: "redirect", Handler: func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://sso.evil.example/?"+r.Header.Get("PRIVATE-TOKEN"), http.StatusTemporaryRedirect)
	}})
	for name, status := range map[string]int{repeated: 200, refused: 404} {
		faults = append(faults, httpxtest.Fault{Name: name, Handler: func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/repeats/") {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(status)
				return
			}
			http.Redirect(w, r, "/repeats/"+r.Header.Get("PRIVATE-TOKEN")+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+"/x", http.StatusTemporaryRedirect)
		}})
	}
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			ca := httpxtest.NewCA(t)
			at := f.Start(t, ca)
			var mu sync.Mutex
			var others []string
			proxy := httpxtest.Proxy(t, http.StatusBadGateway, "", func(r *http.Request) { // loopback goes by none
				mu.Lock()
				defer mu.Unlock()
				others = append(others, r.Host)
			})
			var wg sync.WaitGroup
			for name, op := range operations {
				if f.Stuck && name == refreshing { // it outlives its caller, which package oauth tests
					continue
				}
				if !everywhere[f.Name] && name != refreshing && name != making && name != verifying {
					continue
				}
				wg.Go(func() {
					tryFault(t, f, at, name, op, providers.Account{Name: "x", CAFile: ca.File(), HTTPSProxy: proxy.URL})
				})
			}
			wg.Wait()
			if len(others) > 0 {
				t.Errorf("asked %v", others)
			}
		})
	}
}

func tryFault(t *testing.T, f httpxtest.Fault, at, name string, op operation, base providers.Account) {
	d, log := httpxtest.Deps(t, map[string]string{
		"keyring:pat": canary, "keyring:pair": fmt.Sprintf(pairUntil, 2999, at), "keyring:over": fmt.Sprintf(pairUntil, 2001, at),
	})
	d.Run = func(context.Context, providers.Command) ([]byte, error) {
		return fmt.Appendf(nil, `{"type":"success","instance_url":"https://%s","token":{"type":"pat","token":%q}}`, at, canary), nil
	}
	ctx := t.Context()
	if f.Stuck { // it ends with the caller's time, however short that is
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		ctx = short
	}
	b := broken{t: t, at: at, deps: d, base: base}
	err := op.run(ctx, b)
	text := log.String()
	e, ok := errors.AsType[*providers.Error](err)
	switch {
	case err == nil && op.passes(f):
	case !ok || e.Kind == "" || e.Host.IsZero():
		t.Errorf("%s: %v", name, err)
	case op.passes(f) && f.Kind != "":
		t.Errorf("%s: kept back: %v", name, err)
	case f.Kind == providers.Unavailable && e.Kind != providers.Unavailable:
		t.Errorf("%s: %s: %v", name, e.Kind, err)
	default:
		text += e.Error() + e.Hint
	}
	for _, secret := range []string{canary, otherCanary} {
		if l := httpxtest.Leaks(text, secret); len(l) > 0 {
			t.Errorf("%s: a secret in %s", name, text)
		}
	}
}

// The same behind a challenge: the token endpoint fails where the registry does not.
func TestTokenEndpointThatFailsIsNoRefusalOfTheLogin(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault fakecloud.Fault
		kind  providers.Kind
	}{
		"busy":      {fakecloud.Fault{Status: 429, Header: http.Header{"Retry-After": {"900"}}}, providers.Unavailable},
		"broken":    {fakecloud.Fault{Status: 500, Body: "<html>" + canary}, providers.Unavailable},
		"cut":       {fakecloud.Fault{Cut: true}, providers.Unavailable},
		"junk":      {fakecloud.Fault{Status: 200, Body: "{"}, providers.Unavailable},
		"a page":    {fakecloud.Fault{Status: 200, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>sign in"}, providers.Unavailable},
		"elsewhere": {fakecloud.Fault{Status: 302, Header: http.Header{"Location": {"https://sso.evil.example/"}}}, providers.Unavailable},
		"hangs":     {fakecloud.Fault{Hang: true}, providers.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fake.Options{})
			job := r.app.Job(r.jane)
			env := ciJob("registry.gitlab.com", "gitlab.com:443")
			env["CI_JOB_TOKEN"] = job.Token
			r.deps.Env = env
			s := r.open(gitlab.Options{}, func(a *providers.Account) { a.Layer = providers.LayerAmbient })
			c := r.mint(s, r.request(""))
			tt.fault.Host, tt.fault.Path = "gitlab.com", "/jwt/auth"
			r.cloud.Inject(tt.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if !tt.fault.Hang {
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
			}
			defer cancel()
			r.secrets["job"] = job.Token
			r.wantError(s.(providers.Verifier).Verify(ctx, r.request(""), c), tt.kind)
			r.cloud.ClearFaults()
			if err := r.verify(s, r.request("", push("acme/app")), c); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// A rotation whose answer cannot be used is not sent again, and says what to do.
func TestRotationThatIsAnsweredBadlyIsSentOnce(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fakecloud.Fault{
		"broken": {Status: 502}, "cut": {Cut: true}, "busy": {Status: 429}, "junk": {Status: 200, Body: "{"}, "nothing": {Status: 200, Body: "{}"}, "a page": {Status: 200, Body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fake.Options{})
			token := r.jane.Token(fake.TokenSpec{Scopes: rotatingScopes})
			s := r.open(gitlab.Options{}, r.withSecret(token.Secret)).(providers.Rotator)
			f.Host, f.Path = "gitlab.com", "/api/v4/personal_access_tokens/self/rotate"
			r.cloud.Inject(f)
			_, err := s.Rotate(t.Context(), providers.NewSecret(token.Secret))
			r.wantError(err, providers.Unavailable)
			if n := r.cloud.Count(func(q fakecloud.Request) bool { return strings.HasSuffix(q.Path, "/rotate") }); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}
