// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

func clientOf(t *testing.T, a providers.Account, n providers.Network) (*httpx.Client, *httpxtest.Log) {
	t.Helper()
	deps, log := httpxtest.Deps(t, nil)
	deps.Network = n
	c, err := httpx.New(httpx.ConfigOf(a, deps))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c, log
}

// H91.
func TestProxyOrderAndBypass(t *testing.T) {
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(v, "")
	}
	var viaAccount, viaNetwork, viaEnv atomic.Int32
	ca := httpxtest.NewCA(t)
	s := ca.Server(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "reg.example", "skip.example")
	dial := s.Listener.Addr().String()
	proxy := func(n *atomic.Int32) string {
		return httpxtest.Proxy(t, 200, dial, func(*http.Request) { n.Add(1) }).URL
	}
	acc, net, env := proxy(&viaAccount), proxy(&viaNetwork), proxy(&viaEnv)
	t.Setenv("HTTPS_PROXY", env)
	for _, tc := range []struct {
		name string
		a    providers.Account
		n    providers.Network
		hit  *atomic.Int32
	}{
		{"the account's wins", providers.Account{HTTPSProxy: acc}, providers.Network{HTTPSProxy: net}, &viaAccount},
		{"then the agent's", providers.Account{}, providers.Network{HTTPSProxy: net}, &viaNetwork},
		{"then the environment's", providers.Account{}, providers.Network{}, &viaEnv},
	} {
		tc.a.CAFile = ca.File()
		c, _ := clientOf(t, tc.a, tc.n)
		if _, err := c.Do(t.Context(), httpx.Request{URL: "https://reg.example/v2/"}); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.hit.Swap(0) != 1 || viaAccount.Load()+viaNetwork.Load()+viaEnv.Load() != 0 {
			t.Errorf("%s: it did not", tc.name)
		}
	}
	c, _ := clientOf(t, providers.Account{HTTPSProxy: acc, NoProxy: "skip.example"}, providers.Network{})
	for u, want := range map[string]bool{
		"https://reg.example/": true, "http://reg.example/": true, "https://skip.example/": false,
		"https://127.0.0.1:5000/": false, "https://[::1]/": false, "http://169.254.169.254/latest/": false,
		"http://[fd00:ec2::254]/": false, "http://metadata.google.internal/": false, "https://10.1.2.3/": true,
	} {
		p, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if c.Proxied(p) != want {
			t.Errorf("%s: proxied %v, want %v", u, !want, want)
		}
	}
}

// H91: a proxy's refusal is named, its user name and password never.
func TestProxyRefusalIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{407: "asks for a login (HTTP 407)", 502: "answered HTTP 502"} {
		p := httpxtest.Proxy(t, status, "", nil)
		c, log := clientOf(t, providers.Account{HTTPSProxy: strings.Replace(p.URL, "://", "://user:"+canary+"@", 1)}, providers.Network{})
		for _, u := range []string{"https://reg.example/v2/", "http://reg.example/v2/"} {
			_, err := c.Do(t.Context(), httpx.Request{Host: httpxtest.Host(t, "reg.example"), Method: "POST", URL: u})
			if err == nil || strings.HasPrefix(u, "https") && !strings.Contains(err.Error(), "proxy "+p.Listener.Addr().String()+" "+want) {
				t.Errorf("%s: got %v", u, err)
			}
			if status == 407 && (providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), "407; set https_proxy") && !strings.Contains(err.Error(), "407")) {
				t.Errorf("%s: got %v", u, err)
			}
			if l := httpxtest.Leaks(err.Error()+log.String(), canary); len(l) > 0 {
				t.Errorf("secret in %v", err)
			}
		}
	}
}

func TestUnreachableProxyIsBlamedAsProxy(t *testing.T) {
	t.Parallel()
	p := httpxtest.Proxy(t, 200, "", nil)
	p.Close()
	c, _ := clientOf(t, providers.Account{HTTPSProxy: p.URL}, providers.Network{})
	_, err := c.Do(t.Context(), httpx.Request{Method: "POST", URL: "https://reg.example/v2/"})
	if err == nil || !strings.Contains(err.Error(), "proxy: connection refused") {
		t.Errorf("got %v", err)
	}
}
