// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"strings"
	"testing"
)

func pattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatternMatches(t *testing.T) {
	const acct = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	for _, tt := range []struct {
		pattern, key string
		want         bool
	}{
		{"*.dkr.ecr.*.amazonaws.com", acct, true},
		{"*.dkr.ecr.*.amazonaws.com", acct + "/team/app", true},
		{"*.dkr.ecr.*.amazonaws.com", acct + ".evil.example", false},     // H25
		{"*.dkr.ecr.*.amazonaws.com", strings.ToUpper(acct) + ".", true}, // H26
		{"*.dkr.ecr.*.amazonaws.com", acct + ":443", true},
		{"*.dkr.ecr.*.amazonaws.com", acct + ":8443", false}, // H27
		{"*.dkr.ecr.*.amazonaws.com:8443", acct + ":8443", true},
		{"*.dkr.ecr.*.amazonaws.com:8443", acct, false},
		{"*.dkr.ecr.*.amazonaws.com", "dkr.ecr.us-east-1.amazonaws.com", false},
		{"*.dkr.ecr.*.amazonaws.com", "1.2.dkr.ecr.us-east-1.amazonaws.com", false},
		{"*.azurecr.io", "acme.azurecr.io", true}, // H28
		{"*.azurecr.io", "evil.azurecr.io.attacker.com", false},
		{"*.azurecr.io", "azurecr.io", false},
		{"*.azurecr.io", "xazurecr.io", false},
		{"*.azurecr.io", "a.b.azurecr.io", false},
		{"*.*.azurecr.io", "a.b.azurecr.io", true},
		{"ghcr.io", "ghcr.io.evil.example", false}, // H29
		{"ghcr.io", "evil-ghcr.io", false},
		{"ghcr.io", "evil.example/ghcr.io", false},
		{"ghcr.io", "GHCR.IO", true}, // H30
		{"ghcr.io", "https://ghcr.io/v2/", true},
		{"ghcr.io", "ghcr.io:443", true},
		{"docker.io", "https://index.docker.io/v1/", true}, // H31
		{"index.docker.io", "docker.io", true},
		{"registry.hub.docker.com", "registry-1.docker.io", true},
		{"docker.io/acme", "index.docker.io/acme/app", true},
		{"docker.io/acme", "index.docker.io/library/alpine", false},
		{"gcr.io", "gcr.io.", true}, // H32
		{"*.gcr.io", "eu.gcr.io", true},
		{"*.pkg.dev", "europe-docker.pkg.dev", true},
		{"*.pkg.dev", "pkg.dev.evil", false},
		{"ghcr.io", "xn--ghr-5cd.io", false}, // H33
		{"reg.io/team", "reg.io/team", true}, // H36
		{"reg.io/team", "reg.io/team/x", true},
		{"reg.io/team", "reg.io/team/x/y", true},
		{"reg.io/team", "reg.io/team-evil/x", false},
		{"reg.io/team", "reg.io/teamevil", false},
		{"reg.io/team", "reg.io/other/team", false},
		{"reg.io/team", "reg.io/Team/x", false},
		{"reg.io/team", "reg.io", false},
		{"reg.io/team/", "reg.io/team/x", true},
		{"reg.io/a/b", "reg.io/a/b/c", true},
		{"reg.io/a/b", "reg.io/a/bc", false},
		{"reg.io/a/b", "reg.io/a", false},
		{"reg.io:5000/team", "reg.io:5000/team/x", true},
		{"reg.io:5000/team", "reg.io/team/x", false},
		{"*.reg.io/team", "a.reg.io/team/x", true},
		{"*.reg.io/team", "a.reg.io/evil/x", false},
		{"*.example.com", "example.com", false}, // H37
		{"*.example.com", "a.b.example.com", false},
		{"*.example.com", "a.example.com:444", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.example.com.", true},
		{"*.example.com", "a.example.org", false},
		{"a.*.com", "a.example.com", true},
		{"[::1]:5000", "[0::1]:5000", true},
		{"[::1]:5000", "[::1]:5001", false},
		{"127.0.0.1:5000", "127.0.0.1:5000/a", true},
		{"localhost", "localhost", true},
		{"localhost", "localhost:5000", false},
	} {
		k, err := ParseKey(tt.key)
		if err != nil {
			t.Error(err)
			continue
		}
		p := pattern(t, tt.pattern)
		if got := p.Matches(k.Host, k.Repository); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.pattern, tt.key, got)
		}
		// The index answers as the plain reading of the pattern does.
		s, err := NewSelector([]Account{{Name: "a", Hosts: []Pattern{p}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Select(k.Host, k.Repository, ""); (err == nil) != (tt.want || p.MatchHost(k.Host) && k.Repository == "") {
			t.Errorf("%s selected for %s: %v", tt.pattern, tt.key, err)
		}
	}
}

func TestLookAlikeNeverMatchesAPattern(t *testing.T) {
	for _, s := range suffixes {
		p := pattern(t, "*."+s)
		if !p.MatchHost(host(t, "x."+s)) {
			t.Errorf("%s does not match x.%s", p, s)
		}
		for _, form := range lookAlikes {
			in := strings.ReplaceAll(form, "S", s)
			if k, err := ParseKey(in); err == nil && form != "x-S" && p.MatchHost(k.Host) {
				t.Errorf("%s matches %q", p, in)
			}
		}
	}
}

func TestPatternNormalForm(t *testing.T) {
	for _, tt := range []struct {
		in, want, exact string
	}{
		{"GHCR.io.:443", "ghcr.io", "ghcr.io"},
		{"ghcr.io/acme/", "ghcr.io/acme", "ghcr.io"},
		{"index.docker.io/acme", "docker.io/acme", "docker.io"},
		{"*.DKR.ecr.*.amazonaws.com.", "*.dkr.ecr.*.amazonaws.com", ""},
		{"*.reg.example:443/team", "*.reg.example/team", ""},
		{"*.reg.example:5000", "*.reg.example:5000", ""},
		{"[0::1]:5000/a", "[::1]:5000/a", "[::1]:5000"},
	} {
		var p Pattern
		if err := p.UnmarshalText([]byte(tt.in)); err != nil {
			t.Error(err)
			continue
		}
		text, _ := p.MarshalText()
		h, ok := p.Exact()
		if string(text) != tt.want || h.String() != tt.exact || ok != (tt.exact != "") {
			t.Errorf("%q: %q exact %q %v", tt.in, text, h, ok)
		}
		if again := pattern(t, p.String()); again != p {
			t.Errorf("%q is not stable: %q", tt.in, again)
		}
	}
	if p := pattern(t, "ghcr.io/acme"); p.Path() != "acme" {
		t.Errorf("path %q", p.Path())
	}
	if (Pattern{}).MatchHost(Host{}) || (Pattern{}).MatchHost(DockerHub) || pattern(t, "*.io").MatchHost(Host{}) {
		t.Error("nothing matches nothing")
	}
}

func TestPatternIsRefused(t *testing.T) {
	for in, reason := range map[string]string{
		"":                                     "empty",
		"*":                                    "last label",
		"*.*":                                  "last label",
		"ghcr.*":                               "last label",
		"ghcr.*.":                              "last label",
		"10.0.0.*":                             "last label",
		"*.0.0.1":                              "four numbers",
		"prod-*.example.com":                   "one whole label",
		"**.example.com":                       "one whole label",
		"*x.example.com":                       "one whole label",
		"*.example.com:*":                      "port",
		"[*]:5000":                             "one whole label",
		"*..example.com":                       "empty label",
		"*.-x.com":                             "'-'",
		"*." + strings.Repeat("a.", 126) + "a": "longer than 253",
		"https://ghcr.io":                      "no scheme",
		"ghcr.io/*":                            "no wildcard",
		"ghcr.io/acme/*":                       "no wildcard",
		"ghcr.io/acme//app":                    "empty segment",
		"ghcr.io//":                            "empty segment",
		"ghcr.io/../acme":                      "dot segment",
		"ghcr.io/acme:1.0":                     "without tag",
		"user:pw@ghcr.io":                      "user name or password",
		"*.azurecr.io@evil":                    "user name or password",
		"*.азure.io":                           "outside ASCII",
		"*.example.com\n":                      "control character",
		"*.example.com.evil?x":                 "'?'",
		"/acme":                                "empty",
	} {
		p, err := ParsePattern(in)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("ParsePattern(%q) = %q, %v; want %q", in, p, err, reason)
		}
		checkShown(t, in, err)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{
		{"*.azurecr.io", "a.azurecr.io"},
		{"*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.x.amazonaws.com.evil"},
		{"ghcr.io/acme", "ghcr.io/acme-evil/x"},
		{"*.io:5000/a", "x.io:5000/a/b"},
		{"[::1]", "[::1]"},
		{"*.a.b", "[::1]"},
		{"*.*.b", "1.2.b"},
		{"docker.io", "index.docker.io/v1/"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, ps, ks string) {
		p, err := ParsePattern(ps)
		if err != nil {
			checkShown(t, ps, err)
			return
		}
		if again, err := ParsePattern(p.String()); err != nil || again != p {
			t.Fatalf("%q: %q reads back as %q, %v", ps, p, again, err)
		}
		k, err := ParseKey(ks)
		if err != nil {
			return
		}
		ph, pp, _ := strings.Cut(p.String(), "/")
		if p.MatchHost(k.Host) && !sameLabels(ph, k.Host.String()) {
			t.Fatalf("%q matches %q", p, k.Host)
		}
		owned := p.Matches(k.Host, k.Repository)
		if owned && pp != "" && !strings.HasPrefix(k.Repository+"/", pp+"/") {
			t.Fatalf("%q owns %q", p, k)
		}
		s, err := NewSelector([]Account{{Name: "a", Hosts: []Pattern{p}}})
		if err != nil {
			t.Fatal(err)
		}
		if s.OwnsHost(k.Host) != p.MatchHost(k.Host) {
			t.Fatalf("the index and %q disagree about %q", p, k.Host)
		}
		if _, err := s.Select(k.Host, k.Repository, ""); (err == nil) != (owned || k.Repository == "" && p.MatchHost(k.Host)) {
			t.Fatalf("the index and %q disagree about %q: %v", p, k, err)
		}
	})
}

// sameLabels is the slow reading of a pattern: label by label, "*" for any one.
func sameLabels(pattern, host string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == host
	}
	p, h := strings.FieldsFunc(pattern, isSeparator), strings.FieldsFunc(host, isSeparator)
	if len(p) != len(h) || strings.Contains(pattern, ":") != strings.Contains(host, ":") {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != h[i] {
			return false
		}
	}
	return true
}

func isSeparator(r rune) bool { return r == '.' || r == ':' }
