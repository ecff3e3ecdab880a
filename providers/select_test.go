// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"fmt"
	"strings"
	"testing"
)

// account makes one from "NAME HOSTS...", with "!" before the name for the
// default mark.
func account(t testing.TB, layer Layer, spec string) Account {
	t.Helper()
	f := strings.Fields(spec)
	name, isDefault := strings.CutPrefix(f[0], "!")
	a := Account{Name: name, Default: isDefault, Layer: layer, Source: "config.toml:" + name}
	for _, h := range f[1:] {
		a.Hosts = append(a.Hosts, pattern(t, h))
	}
	return a
}

func selector(t testing.TB, as ...Account) *Selector {
	t.Helper()
	s, err := NewSelector(as)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSelectFollowsTheOrder(t *testing.T) {
	configured := func(specs ...string) (out []Account) {
		for _, s := range specs {
			out = append(out, account(t, LayerConfigured, s))
		}
		return out
	}
	with := func(layer Layer, spec string, as []Account) []Account { return append(as, account(t, layer, spec)) }
	for _, tt := range []struct {
		name     string
		accounts []Account
		key      string
		want     string // account, or kind of the error
	}{
		{"whole host", configured("a ghcr.io"), "ghcr.io/x/y", "a"},
		{"another host", configured("a ghcr.io"), "quay.io", "no_account"},
		{"no accounts", nil, "quay.io", "no_account"},
		{"longest path", configured("a reg.io", "b reg.io/team", "c reg.io/team/app"), "reg.io/team/app/x", "c"},
		{"path by whole segments", configured("a reg.io", "b reg.io/team"), "reg.io/team-evil/x", "a"},
		{"path over exactness (H38)", configured("a reg.example.com", "b *.example.com/team"), "reg.example.com/team/x", "b"},
		{"exact over wildcard (H38)", configured("b *.example.com", "a reg.example.com"), "reg.example.com", "a"},
		{"exact over wildcard at the same path", configured("b *.example.com/t", "a reg.example.com/t"), "reg.example.com/t/x", "a"},
		{"fewer wildcards over more", configured("b *.dkr.ecr.*.amazonaws.com", "a *.dkr.ecr.eu-west-1.amazonaws.com"), "1.dkr.ecr.eu-west-1.amazonaws.com", "a"},
		{"exact over layer", with(LayerJobConfig, "b *.example.com", configured("a reg.example.com")), "reg.example.com", "a"},
		{"lower layer", with(LayerJobConfig, "b ghcr.io", configured("!a ghcr.io")), "ghcr.io", "b"},
		{"saved over ambient", []Account{account(t, LayerAmbient, "b ghcr.io"), account(t, LayerSaved, "a ghcr.io")}, "ghcr.io", "a"},
		{"carried last", []Account{account(t, LayerCarried, "b ghcr.io"), account(t, LayerAmbient, "a ghcr.io")}, "ghcr.io", "a"},
		{"default", configured("a ghcr.io", "!b ghcr.io", "c ghcr.io"), "ghcr.io", "b"},
		{"none default", configured("a ghcr.io", "b ghcr.io"), "ghcr.io", "misconfigured"},
		{"none default at a path, whole host owned", configured("a ghcr.io", "b ghcr.io/t", "c ghcr.io/t"), "ghcr.io/t/x", "misconfigured"},
		{"default elsewhere does not count", configured("!a ghcr.io", "b ghcr.io/t", "c ghcr.io/t"), "ghcr.io/t/x", "misconfigured"},
		{"one account twice is no conflict", configured("a ghcr.io ghcr.io *.ghcr.io"), "ghcr.io", "a"},
		{"two patterns of one account at one host", configured("a *.example.com *.*.com"), "x.example.com", "a"},
		{"job login over everything", with(LayerJobLogin, "b ghcr.io", configured("!a ghcr.io", "c ghcr.io/team")), "ghcr.io/team/x", "b"},
		{"job login for its host alone", with(LayerJobLogin, "b quay.io", configured("a ghcr.io")), "ghcr.io/team/x", "a"},
		{"host alone, whole host owned", configured("a ghcr.io", "b ghcr.io/t"), "ghcr.io", "a"},
		{"host alone, one path account", configured("b ghcr.io/t"), "ghcr.io", "b"},
		{"host alone, wildcard owns it whole", configured("a *.example.com", "b r.example.com/t"), "r.example.com", "a"},
		{"host alone, many path accounts", configured("a ghcr.io/a", "b ghcr.io/b"), "ghcr.io", "misconfigured"},
		{"host alone, depth of a path says nothing", configured("a ghcr.io/a", "b ghcr.io/b/c/d"), "ghcr.io", "misconfigured"},
		{"host alone, default path account", configured("a ghcr.io/a", "!b ghcr.io/b"), "ghcr.io", "b"},
		{"host alone, two default path accounts", configured("!a ghcr.io/a", "!b ghcr.io/b"), "ghcr.io", "misconfigured"},
		{"host alone, exact path over wildcard path", configured("a *.example.com/a", "b r.example.com/b"), "r.example.com", "b"},
		{"host alone, one account with two paths", configured("a ghcr.io/a ghcr.io/b"), "ghcr.io", "a"},
		{"repository nobody owns", configured("b ghcr.io/t"), "ghcr.io/other/x", "no_account"},
		{"other port", configured("a ghcr.io"), "ghcr.io:8443", "no_account"},
		{"port in a wildcard", configured("a *.reg.io:5000"), "x.reg.io:5000/y", "a"},
		{"hub alias", configured("a docker.io"), "https://index.docker.io/v1/", "a"},
		{"hub namespace", configured("a docker.io", "b registry-1.docker.io/acme"), "index.docker.io/acme/x", "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := ParseKey(tt.key)
			if err != nil {
				t.Fatal(err)
			}
			// The order of the accounts must not matter.
			for range len(tt.accounts) + 1 {
				got, err := selector(t, tt.accounts...).Select(k.Host, k.Repository, "")
				answer := got.Name
				if err != nil {
					answer = string(KindOf(err))
				}
				if answer != tt.want {
					t.Errorf("%s: %s (%v), want %s", tt.key, answer, err, tt.want)
				}
				if n := len(tt.accounts); n > 0 {
					tt.accounts = append(tt.accounts[1:n:n], tt.accounts[0])
				}
			}
		})
	}
}

func TestAmbiguityNamesTheAccountsAndTheWayOut(t *testing.T) {
	s := selector(t, account(t, LayerConfigured, "prod ghcr.io"), account(t, LayerConfigured, "dev ghcr.io"))
	_, err := s.Select(host(t, "ghcr.io"), "", "")
	const want = "ghcr.io: several accounts own this host and none is the default: dev, prod; set default = true on one of them, or choose with REGMINT_ACCOUNT or --account"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	var many []Account
	for i := range 100 {
		many = append(many, account(t, LayerConfigured, fmt.Sprintf("a%03d ghcr.io", i)))
	}
	_, err = selector(t, many...).Select(host(t, "ghcr.io"), "", "")
	if err == nil || !strings.Contains(err.Error(), "a000, a001, a002, a003, a004, a005, a006, a007, and 92 more;") {
		t.Errorf("%v", err)
	}
}

func TestPickNamesAnOwnerOfTheHost(t *testing.T) {
	s := selector(t,
		account(t, LayerConfigured, "prod ghcr.io"), account(t, LayerConfigured, "dev ghcr.io"),
		account(t, LayerConfigured, "team ghcr.io/team"), account(t, LayerConfigured, "other quay.io"),
		account(t, LayerSaved, "prod *.io ghcr.io/deep"), account(t, LayerJobLogin, "ci reg.example"), account(t, LayerConfigured, "reg reg.example"))
	for _, tt := range []struct{ key, pick, want, source string }{
		{"ghcr.io", "prod", "", "config.toml:prod"},
		{"ghcr.io/x/y", "dev", "dev", ""},
		{"ghcr.io", "team", "team", ""},
		{"ghcr.io/elsewhere/y", "team", "team", ""}, // docker, asking by host alone, gets the same
		{"ghcr.io", "other", "misconfigured", ""},
		{"ghcr.io", "Prod", "misconfigured", ""},
		{"other.example", "prod", "no_account", ""},
		{"x.io", "prod", "prod", ""},
		{"reg.example", "reg", "reg", ""},
		{"reg.example", "prod", "ci", ""}, // a login inside the job
	} {
		k, _ := ParseKey(tt.key)
		got, err := s.Select(k.Host, k.Repository, tt.pick)
		answer := got.Name
		if err != nil {
			answer = string(KindOf(err))
		}
		if tt.want != "" && answer != tt.want || tt.source != "" && (err != nil || got.Source != tt.source) {
			t.Errorf("%s as %s: %s, %v", tt.key, tt.pick, answer, err)
		}
	}
	deep, err := s.Select(host(t, "ghcr.io"), "deep/x", "prod")
	if err != nil || deep.Layer != LayerSaved {
		t.Errorf("two accounts of one name: %+v, %v", deep, err)
	}
	_, err = s.Select(host(t, "ghcr.io"), "", "oth\x1ber")
	const want = `ghcr.io: account "oth\\x1ber" has no entry for this host; these have: dev, prod, team; choose one of them with REGMINT_ACCOUNT or --account`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestUndecidableAccountsAreALoadError(t *testing.T) {
	for _, tt := range []struct {
		name     string
		accounts []Account
		want     []string
	}{
		{"two defaults", []Account{account(t, LayerConfigured, "!a ghcr.io"), account(t, LayerConfigured, "!b GHCR.io.:443")}, []string{"ghcr.io", "config.toml:a", "config.toml:b"}},
		{"two defaults at a path", []Account{account(t, LayerConfigured, "!a ghcr.io/x"), account(t, LayerConfigured, "!b quay.io ghcr.io/x/")}, []string{"ghcr.io/x", "config.toml:a", "config.toml:b"}},
		{"two defaults for the Hub", []Account{account(t, LayerSaved, "!a docker.io"), account(t, LayerSaved, "!b index.docker.io")}, []string{"docker.io", "config.toml:a", "config.toml:b"}},
		{"one name twice", []Account{account(t, LayerConfigured, "a ghcr.io"), account(t, LayerConfigured, "a quay.io")}, []string{"named a", "config.toml:a and config.toml:a"}},
		{"defaults of two layers", []Account{account(t, LayerConfigured, "!a ghcr.io"), account(t, LayerSaved, "!b ghcr.io")}, nil},
		{"defaults of two paths", []Account{account(t, LayerConfigured, "!a ghcr.io"), account(t, LayerConfigured, "!b ghcr.io/x")}, nil},
		{"default and its own repetition", []Account{account(t, LayerConfigured, "!a ghcr.io ghcr.io")}, nil},
		{"one name in two layers", []Account{account(t, LayerConfigured, "a ghcr.io"), account(t, LayerSaved, "a ghcr.io")}, nil},
	} {
		_, err := NewSelector(tt.accounts)
		if (err != nil) != (tt.want != nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, part := range tt.want {
			if !strings.Contains(fmt.Sprint(err), part) {
				t.Errorf("%s: %v; want %q", tt.name, err, part)
			}
		}
		if err != nil && KindOf(err) != Misconfigured {
			t.Errorf("%s: kind %s", tt.name, KindOf(err))
		}
	}
}

func TestSelectorListsHosts(t *testing.T) {
	s := selector(t,
		account(t, LayerConfigured, "a quay.io/team *.azurecr.io"), account(t, LayerSaved, "b index.docker.io ghcr.io:5000"), account(t, LayerAmbient, "c *.*.example.com:8443 quay.io"))
	if got := fmt.Sprint(s.ExactHosts()); got != "[docker.io ghcr.io:5000 quay.io]" {
		t.Error(got)
	}
	for h, want := range map[string]string{
		"quay.io": "a c", "x.azurecr.io": "a", "docker.io": "b", "ghcr.io:5000": "b", "a.b.example.com:8443": "c",
		"ghcr.io": "", "azurecr.io": "", "a.b.example.com": "", "10.0.0.1": "", "[::1]": "",
	} {
		var names []string
		for _, a := range s.Owners(host(t, h)) {
			names = append(names, a.Name)
		}
		if got := strings.Join(names, " "); got != want || s.OwnsHost(host(t, h)) != (want != "") {
			t.Errorf("%s: owners %q, owned %v", h, got, s.OwnsHost(host(t, h)))
		}
	}
	empty := selector(t, Account{Name: "none"}, Account{Hosts: []Pattern{{}}})
	if empty.OwnsHost(Host{}) || len(empty.ExactHosts()) != 0 {
		t.Error("an empty pattern owns something")
	}
	if _, err := empty.Select(Host{}, "", ""); KindOf(err) != NoAccount {
		t.Errorf("no host: %v", err)
	}
}

func TestSelectorIsIndependentOfItsInput(t *testing.T) {
	in := []Account{account(t, LayerConfigured, "a ghcr.io")}
	s := selector(t, in...)
	in[0].Name = "changed"
	if a, err := s.Select(host(t, "ghcr.io"), "", ""); err != nil || a.Name != "a" {
		t.Errorf("%q, %v", a.Name, err)
	}
}

func BenchmarkSelect(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		as := []Account{account(b, LayerConfigured, "ecr *.dkr.ecr.*.amazonaws.com"), account(b, LayerConfigured, "acr *.azurecr.io")}
		for i := range n {
			as = append(as, account(b, LayerConfigured, fmt.Sprintf("a%d reg%d.example.com one.example.com/team%d", i, i, i)))
		}
		s := selector(b, as...)
		for _, key := range []string{"reg7.example.com", "one.example.com/team7/app", "1.dkr.ecr.eu-west-1.amazonaws.com/x", "nobody.example.org"} {
			k, err := ParseKey(key)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("accounts=%d/%s", n, strings.ReplaceAll(key, "/", "+")), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = s.Select(k.Host, k.Repository, "")
				}
			})
		}
	}
}
