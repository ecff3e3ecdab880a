// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

const canary = "CNRYhttpx0123456789abcdef0123456789"

// T1, H48, H53, H56: every fault has its kind, ends with the caller's
// deadline, and no error or log line repeats what the request carried.
func TestEveryFaultHasItsKindEndsInTimeAndRepeatsNoSecret(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			deps, log := httpxtest.Deps(t, nil)
			c, err := httpx.New(httpx.ConfigOf(providers.Account{CAFile: ca.File()}, deps))
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdle()
			addr := f.Start(t, ca)
			limit := 20 * time.Second
			if f.Stuck {
				limit = 400 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			res, err := c.Do(ctx, httpx.Request{
				Host: httpxtest.Host(t, "reg.example"), What: "token exchange", Method: http.MethodPost, Replay: true,
				URL:     "https://" + addr + "/token?secret=" + canary,
				Header:  http.Header{"Authorization": {"Bearer " + canary}},
				Body:    []byte("password=" + canary),
				Secrets: []providers.Secret{providers.NewSecret(canary)},
			})
			if f.Name == "redirect loop" {
				f.Kind, f.Want = providers.Unavailable, "redirect number 6 refused"
			}
			if f.Kind == "" {
				if err != nil || res.Status != 200 {
					t.Fatalf("a 200 is the caller's to judge, got %v, %v", res, err)
				}
				return
			}
			e, ok := errors.AsType[*providers.Error](err)
			if !ok || e.Kind != f.Kind {
				t.Fatalf("kind %q, want %q: %v", providers.KindOf(err), f.Kind, err)
			}
			if !strings.Contains(err.Error(), f.Want) || !strings.HasPrefix(err.Error(), "reg.example: token exchange") {
				t.Errorf("unclear error: %v", err)
			}
			if l := httpxtest.Leaks(err.Error()+log.String(), canary); len(l) > 0 {
				t.Errorf("secret in %q / %q", err, log)
			}
			if strings.Contains(f.Name, "Retry-After") && f.Name != "429 without Retry-After" && (e.RetryAfter != time.Minute || !strings.Contains(err.Error(), "not before 20")) {
				t.Errorf("RetryAfter %v, want it capped at a minute, and the time in %v", e.RetryAfter, err)
			}
		})
	}
}

// H56: trust is the account's own; another account does not get it.
func TestCAFileIsTrustedForItsAccountAlone(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	s := ca.Server(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	deps, _ := httpxtest.Deps(t, nil)
	for _, a := range []providers.Account{{CAFile: ca.File()}, {}} {
		c, err := httpx.New(httpx.ConfigOf(a, deps))
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseIdle()
		_, err = c.Do(t.Context(), httpx.Request{URL: s.URL})
		if (err == nil) != (a.CAFile != "") {
			t.Errorf("ca_file %q: %v", a.CAFile, err)
		}
	}
}

func TestUnusableCAFileAndProxyAreConfigurationErrors(t *testing.T) {
	t.Parallel()
	deps, _ := httpxtest.Deps(t, nil)
	for _, a := range []providers.Account{
		{CAFile: t.TempDir()},
		{CAFile: t.TempDir() + "/absent"},
		{HTTPSProxy: "ftp://proxy.example"},
		{HTTPSProxy: "http://user:" + canary + "@%zz"},
	} {
		_, err := httpx.New(httpx.ConfigOf(a, deps))
		if err == nil || providers.KindOf(err) != providers.Misconfigured || strings.Contains(err.Error(), canary) {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func TestPlainHTTPServerBehindHTTPSIsNamed(t *testing.T) {
	t.Parallel()
	s := httpxtest.Plain(t, http.NotFoundHandler())
	deps, _ := httpxtest.Deps(t, nil)
	c, err := httpx.New(httpx.ConfigOf(providers.Account{}, deps))
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Listener.Addr().String()
	_, err = c.Do(t.Context(), httpx.Request{Host: httpxtest.Host(t, addr), URL: "https://" + addr + "/v2/"})
	if !errors.Is(err, httpx.ErrNotTLS) || !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client; set plain_http = true") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownNameIsNoSuchHost(t *testing.T) {
	t.Parallel()
	dns := httpxtest.NewDNS(t, nil)
	deps, _ := httpxtest.Deps(t, nil)
	cfg := httpx.ConfigOf(providers.Account{NoProxy: "*"}, deps)
	cfg.Resolver = dns.Resolver()
	c, err := httpx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(t.Context(), httpx.Request{Host: httpxtest.Host(t, "nowhere.example"), URL: "https://nowhere.example/v2/"})
	if providers.KindOf(err) != providers.Unavailable || !strings.Contains(err.Error(), "nowhere.example: no such host") {
		t.Errorf("got %v", err)
	}
}

// H54.
func TestClockThatDiffersIsWarnedAboutOnce(t *testing.T) {
	t.Parallel()
	s := httpxtest.Plain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(3*time.Hour).UTC().Format(http.TimeFormat))
	}))
	deps, log := httpxtest.Deps(t, nil)
	c, err := httpx.New(httpx.ConfigOf(providers.Account{}, deps))
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	for range 3 {
		if _, err := c.Do(t.Context(), httpx.Request{URL: s.URL}); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "by=3h0m0s"); n != 1 {
		t.Errorf("%d warnings in %q", n, log)
	}
}

func TestSDKClientCapsBodiesAndStaysOnItsOrigin(t *testing.T) {
	t.Parallel()
	other := httpxtest.Plain(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other origin was asked") }))
	s := httpxtest.Plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write(make([]byte, 2<<20))
	}))
	deps, _ := httpxtest.Deps(t, nil)
	c, err := httpx.New(httpx.ConfigOf(providers.Account{}, deps))
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	_, err = c.HTTPClient().Get(s.URL + "/away?secret=" + canary)
	f := c.Failure(t.Context(), httpx.Request{What: "sdk call", URL: s.URL}, err)
	if !strings.Contains(f.Error(), "to another origin") || strings.Contains(f.Error(), canary) {
		t.Errorf("got %v", f)
	}
	res, err := c.HTTPClient().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	n := 0
	buf := make([]byte, 4096)
	for err == nil {
		var k int
		k, err = res.Body.Read(buf)
		n += k
	}
	if n != httpx.MaxBody || !strings.Contains(err.Error(), "too large") {
		t.Errorf("read %d bytes, then %v", n, err)
	}
}
