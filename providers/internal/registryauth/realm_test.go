// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

func mustHost(t *testing.T, s string) providers.Host {
	t.Helper()
	h, err := providers.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// H40-H43: which realm may see the credential.
func TestRealmRule(t *testing.T) {
	t.Parallel()
	const noProxy, proxy = "", "http://proxy.example:3128"
	pub, priv, loop := "203.0.113.9", "10.9.9.9", "127.0.0.1"
	for _, tc := range []struct {
		name, registry, realm string
		peer, proxy           string
		plain                 bool
		realms                []string // of the account
		known                 []string // of the provider
		bad                   string
	}{
		{name: "the registry's own host", registry: "reg.example", realm: "https://reg.example/token", peer: pub},
		{name: "another port of it", registry: "reg.example:5050", realm: "https://reg.example/jwt/auth", peer: pub},
		{name: "upper case and default port", registry: "reg.example", realm: "https://REG.Example:443/token", peer: pub},
		{name: "http from https", registry: "reg.example", realm: "http://reg.example/token", peer: pub, bad: "insecure realm"},
		{name: "http from http", registry: "reg.example", realm: "http://reg.example/token", peer: pub, plain: true},
		{name: "https from http", registry: "reg.example", realm: "https://reg.example/token", peer: pub, plain: true},
		{name: "a stranger", registry: "reg.example", realm: "https://auth.evil.example/token", peer: pub, bad: "not a token server known"},
		{name: "a sub-domain", registry: "reg.example", realm: "https://auth.reg.example/token", peer: pub, bad: "not a token server known"},
		{name: "a longer name", registry: "reg.example", realm: "https://reg.example.evil.example/", peer: pub, bad: "not a token server known"},
		{name: "listed by the account", registry: "reg.example", realm: "https://auth.example/token", peer: pub, realms: []string{"auth.example"}},
		{name: "listed by pattern", registry: "reg.example", realm: "https://auth.corp.example/token", peer: pub, realms: []string{"*.corp.example"}},
		{name: "listed without this port", registry: "reg.example", realm: "https://auth.example:8443/token", peer: pub, realms: []string{"auth.example"}, bad: "not a token server known"},
		{name: "known to the provider", registry: "reg.example", realm: "https://auth.example/token", peer: pub, known: []string{"auth.example"}},
		{name: "listed, but http from https", registry: "reg.example", realm: "http://auth.example/token", peer: pub, realms: []string{"auth.example"}, bad: "insecure realm"},
		{name: "metadata", registry: "reg.example", realm: "https://169.254.169.254/latest", peer: pub, bad: "not a token server known"},
		{name: "metadata, listed", registry: "reg.example", realm: "https://169.254.169.254/latest", peer: pub, realms: []string{"169.254.169.254"}, bad: "metadata"},
		{name: "metadata, listed, behind a proxy", registry: "reg.example", realm: "https://169.254.169.254/latest", proxy: proxy, realms: []string{"169.254.169.254"}, bad: "metadata"},
		{name: "metadata over IPv6", registry: "reg.example", realm: "https://[fd00:ec2::254]/", peer: pub, realms: []string{"[fd00:ec2::254]"}, bad: "metadata"},
		{name: "localhost", registry: "reg.example", realm: "https://localhost/", peer: pub, bad: "not a token server known"},
		{name: "loopback, listed, public registry", registry: "reg.example", realm: "https://127.0.0.1/", peer: pub, realms: []string{"127.0.0.1"}, bad: "this machine itself"},
		{name: "loopback of a loopback registry", registry: "127.0.0.1:5000", realm: "https://127.0.0.1:5001/token", peer: loop},
		{name: "another loopback name of it", registry: "localhost:5000", realm: "https://127.0.0.1:5000/token", peer: loop, bad: "not a token server known"},
		{name: "private", registry: "reg.example", realm: "https://10.0.0.1/", peer: pub, bad: "not a token server known"},
		{name: "private, listed", registry: "reg.example", realm: "https://10.0.0.1/", peer: pub, realms: []string{"10.0.0.1"}},
		{name: "private registry by address", registry: "10.9.9.9:5000", realm: "https://10.9.9.9:5001/token", peer: priv},
		{name: "private registry, another private host", registry: "10.9.9.9", realm: "https://10.9.9.8/token", peer: priv, bad: "not a token server known"},
		{name: "behind a proxy the name decides", registry: "reg.example", realm: "https://10.0.0.1/", proxy: proxy, realms: []string{"10.0.0.1"}},
		{name: "behind a proxy a stranger", registry: "reg.example", realm: "https://evil.example/", proxy: proxy, bad: "not a token server known"},
		{name: "file", registry: "reg.example", realm: "file:///etc/passwd", peer: pub, bad: "no absolute http or https URL"},
		{name: "gopher", registry: "reg.example", realm: "gopher://reg.example/", peer: pub, bad: "no absolute http or https URL"},
		{name: "javascript", registry: "reg.example", realm: "javascript:alert(1)", peer: pub, bad: "no absolute http or https URL"},
		{name: "no scheme", registry: "reg.example", realm: "//evil", peer: pub, bad: "no absolute http or https URL"},
		{name: "relative", registry: "reg.example", realm: "/token", peer: pub, bad: "no absolute http or https URL"},
		{name: "userinfo", registry: "reg.example", realm: "https://CNRYuser:pw@reg.example/", peer: pub, bad: "a user name"},
		{name: "fragment", registry: "reg.example", realm: "https://reg.example/#x", peer: pub, bad: "fragment"},
		{name: "empty fragment", registry: "reg.example", realm: "https://reg.example/#", peer: pub, bad: "fragment"},
		{name: "backslash", registry: "reg.example", realm: `https://reg.example\@evil.example/`, peer: pub, bad: "odd characters"},
		{name: "space", registry: "reg.example", realm: "https://reg.example /", peer: pub, bad: "odd characters"},
		{name: "too long", registry: "reg.example", realm: "https://reg.example/" + strings.Repeat("a", 1<<20), peer: pub, bad: "more than 2 KiB"},
		{name: "odd address", registry: "reg.example", realm: "https://2130706433/", peer: pub, bad: "not a valid host"},
		{name: "percent in the host", registry: "reg.example", realm: "https://reg.example%2eevil/", peer: pub, bad: "no absolute"},
		{name: "empty", registry: "reg.example", realm: "", peer: pub, bad: "no realm"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := providers.Account{HTTPSProxy: tc.proxy, NoProxy: "none.invalid", RealmHosts: tc.realms}
			c, err := httpx.New(httpx.Config{Account: a})
			if err != nil {
				t.Fatal(err)
			}
			r := &Registry{cfg: Config{HTTP: c, Host: mustHost(t, tc.registry), Account: a}, plain: tc.plain}
			for _, k := range tc.known {
				r.cfg.Realms = append(r.cfg.Realms, mustHost(t, k))
			}
			if tc.peer != "" {
				r.peer = netip.MustParseAddr(tc.peer)
			}
			_, err = r.trusted(tc.realm)
			if tc.bad == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			re, ok := errors.AsType[*RealmError](err)
			if !ok || providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), tc.bad) {
				t.Fatalf("got %v, want %q", err, tc.bad)
			}
			if strings.Contains(err.Error(), "CNRY") || len(err.Error()) > 400 {
				t.Errorf("repeats the realm: %v", err)
			}
			if re.Ask != strings.Contains(err.Error(), "realm_hosts = [\""+re.Host.String()+"\"]") {
				t.Errorf("hint does not fit: %v", err)
			}
		})
	}
}

// Rule 13: what the name leads to is judged by what the registry itself is.
func TestRealmAddressesFollowTheRegistrys(t *testing.T) {
	t.Parallel()
	c, err := httpx.New(httpx.Config{Account: providers.Account{NoProxy: "*"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		registry, peer string
		listed         bool
		want           httpx.AddrPolicy
	}{
		{"reg.example", "203.0.113.9", false, httpx.AddrPolicy{}},
		{"reg.example", "203.0.113.9", true, httpx.AddrPolicy{Private: true}},
		{"reg.example", "10.1.1.1", false, httpx.AddrPolicy{Private: true}},
		{"reg.example", "fd12::1", false, httpx.AddrPolicy{Private: true}},
		{"reg.example", "127.0.0.1", false, httpx.AddrPolicy{Loopback: true}},
		{"localhost:5000", "127.0.0.1", true, httpx.AddrPolicy{Loopback: true, Private: true}},
		{"reg.example", "", false, httpx.AddrPolicy{}},
	} {
		r := &Registry{cfg: Config{HTTP: c, Host: mustHost(t, tc.registry)}}
		if tc.listed {
			r.cfg.Account.RealmHosts = []string{r.cfg.Host.String()}
		}
		if tc.peer != "" {
			r.peer = netip.MustParseAddr(tc.peer)
		}
		got, err := r.trusted("https://" + tc.registry + "/token")
		if err != nil || got.policy != tc.want {
			t.Errorf("%+v: %+v, %v", tc, got.policy, err)
		}
	}
}

func FuzzRealm(f *testing.F) {
	for _, s := range []string{"https://reg.example/token", "https://reg.example@evil/", "http://reg.example", "https://REG.example:443/x?y=z", "https://[::1]/"} {
		f.Add(s)
	}
	c, err := httpx.New(httpx.Config{Account: providers.Account{NoProxy: "*"}})
	if err != nil {
		f.Fatal(err)
	}
	h, err := providers.ParseHost("reg.example")
	if err != nil {
		f.Fatal(err)
	}
	r := &Registry{cfg: Config{HTTP: c, Host: h}, peer: netip.MustParseAddr("203.0.113.9")}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := r.trusted(s)
		if err != nil {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.User != nil || strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") != "reg.example" || got.url.Host != u.Host {
			t.Fatalf("%q passed", s)
		}
	})
}
