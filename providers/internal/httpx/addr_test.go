// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

func httpxAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// H41: what a guarded client dials.
func TestAddressRules(t *testing.T) {
	t.Parallel()
	strict, all := httpx.AddrPolicy{}, httpx.AddrPolicy{Loopback: true, Private: true}
	for addr, want := range map[string][3]bool{ // strict, loopback allowed, private allowed
		"93.184.215.14": {true, true, true}, "2606:2800:21f::1": {true, true, true},
		"127.0.0.1": {false, true, false}, "127.8.9.1": {false, true, false}, "::1": {false, true, false}, "0.0.0.0": {false, true, false}, "::": {false, true, false},
		"::ffff:127.0.0.1": {false, true, false},
		"10.0.0.1":         {false, false, true}, "172.16.5.5": {false, false, true}, "192.168.1.1": {false, false, true}, "100.64.0.1": {false, false, true},
		"fd12:3456::1": {false, false, true}, "fec0::1": {false, false, true}, "::ffff:10.0.0.1": {false, false, true},
		"169.254.169.254": {}, "169.254.170.2": {}, "fe80::1": {}, "fe80::1%lo": {}, "fd00:ec2::254": {}, "fd20:ce::254": {}, "100.100.100.200": {},
		"168.63.129.16": {}, "224.0.0.1": {}, "255.255.255.255": {}, "::ffff:169.254.169.254": {},
		"64:ff9b::a9fe:a9fe": {}, "64:ff9b::7f00:1": {false, true, false}, "64:ff9b::a00:1": {false, false, true}, "2002:a9fe:a9fe::1": {},
	} {
		a := netip.MustParseAddr(addr)
		got := [3]bool{strict.Check(a) == nil, httpx.AddrPolicy{Loopback: true}.Check(a) == nil, httpx.AddrPolicy{Private: true}.Check(a) == nil}
		if got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
		if any := want[0] || want[1] || want[2]; (all.Check(a) == nil) != any {
			t.Errorf("%s with everything allowed: %v", addr, all.Check(a))
		}
	}
	if strict.Check(netip.Addr{}) == nil {
		t.Error("no address passed")
	}
}

// H47: the second look-up of a name gives another address; the dial is refused.
func TestRebindingIsRefusedAtTheDial(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	n := 0
	s := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { n++; w.Header().Set("Connection", "close") }), "auth.example")
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	for _, second := range []string{"169.254.169.254", "10.0.0.1"} {
		dns := httpxtest.NewDNS(t, map[string][]string{"auth.example": {"127.0.0.1", second}})
		deps, _ := httpxtest.Deps(t, nil)
		cfg := httpx.ConfigOf(providers.Account{CAFile: ca.File(), NoProxy: "*"}, deps)
		cfg.Resolver = dns.Resolver()
		c, err := httpx.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		g := c.Guarded(httpx.AddrPolicy{Loopback: true})
		r := httpx.Request{URL: "https://auth.example:" + port + "/token"}
		if _, err := g.Do(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		g.CloseIdle()
		if _, err := g.Do(t.Context(), r); err == nil || !strings.Contains(err.Error(), "refused: the name leads to "+second) {
			t.Errorf("got %v", err)
		}
	}
	if n != 2 {
		t.Errorf("%d requests arrived, want 2", n)
	}
}
