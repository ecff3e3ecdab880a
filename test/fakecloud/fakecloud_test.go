// SPDX-License-Identifier: Apache-2.0

package fakecloud_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

func get(t *testing.T, c *http.Client, url string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestHostsAnswerUnderTheirRealNamesAndNoOthers(t *testing.T) {
	c := fakecloud.Start(t)
	c.Handle("*.dkr.ecr.*.amazonaws.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	const host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	if code, body := get(t, c.Client(), "https://"+host+"/v2/"); code != 200 || body != host {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := get(t, c.Client(), "https://"+host+".evil.example/"); code != 0 {
		t.Errorf("a look-alike answered %d", code)
	}
	if got := c.Reached(); !slices.Equal(got, []string{host, host + ".evil.example"}) {
		t.Errorf("reached %q", got)
	}
	c.ProxyAuth("u:p")
	if code, _ := get(t, c.Client(), "https://"+host+".x/"); code != 0 {
		t.Errorf("the proxy let a stranger through: %d", code)
	}
}

func TestFaultsAreAsManyAsWereInjected(t *testing.T) {
	c := fakecloud.Start(t)
	c.Handle("api.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	c.Inject(fakecloud.Fault{Host: "api.example", Times: 1, Status: 503, Body: "no"})
	c.Inject(fakecloud.Fault{Host: "api.example", Times: 1, Cut: true})
	for i, want := range []int{503, 0, 200, 200} {
		if code, body := get(t, c.Client(), "https://api.example/"); code != want {
			// A GET on a reused connection that is cut is tried again by net/http.
			if want != 0 {
				t.Errorf("request %d: %d %s", i, code, body)
			}
		}
	}
}

func TestIdentityTokensAreVerified(t *testing.T) {
	c := fakecloud.Start(t)
	i := c.Issuer(fakecloud.GitLabIssuer)
	good := i.Sign("project_path:acme/app", "sts.amazonaws.com", nil)
	if claims, err := c.Identity(good, "sts.amazonaws.com"); err != nil || claims["sub"] != "project_path:acme/app" {
		t.Errorf("%v %v", claims, err)
	}
	other := fakecloud.Start(t).Issuer(fakecloud.GitLabIssuer)
	foreign := fakecloud.Start(t).Issuer("https://evil.example")
	for name, tc := range map[string]struct {
		token string
		want  error
	}{
		"another audience":    {i.Sign("s", "other", nil), fakecloud.ErrAudience},
		"expired":             {i.Sign("s", "sts.amazonaws.com", map[string]any{"exp": c.Now().Add(-time.Minute).Unix()}), fakecloud.ErrExpired},
		"another key":         {other.Sign("s", "sts.amazonaws.com", nil), fakecloud.ErrInvalid},
		"another issuer":      {foreign.Sign("s", "sts.amazonaws.com", nil), fakecloud.ErrIssuer},
		"signature cut short": {good[:len(good)-10], fakecloud.ErrInvalid},
		"no token":            {"nonsense", fakecloud.ErrInvalid},
	} {
		if _, err := c.Identity(tc.token, "sts.amazonaws.com"); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.Advance(time.Hour)
	if _, err := c.Identity(good, ""); !errors.Is(err, fakecloud.ErrExpired) {
		t.Errorf("an hour later: %v", err)
	}
}

func TestRunnerSignsForTheAudienceAskedFor(t *testing.T) {
	c := fakecloud.Start(t)
	r := c.GitHubRunner("repo:acme/app:ref:refs/heads/main")
	code, body := get(t, c.Client(), r.URL+"&audience=sts.amazonaws.com", "Authorization", "bearer "+r.Token)
	if code != 200 || len(body) < 100 {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := get(t, c.Client(), r.URL, "Authorization", "bearer wrong"); code != 401 {
		t.Errorf("a wrong request token: %d", code)
	}
}
