// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func host(t testing.TB, s string) Host {
	t.Helper()
	h, err := ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHostIsNormalised(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	host253 := strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
	for in, want := range map[string]string{
		"ghcr.io":                 "ghcr.io",
		"GHCR.IO":                 "ghcr.io", // H30
		"ghcr.io.":                "ghcr.io", // H26
		"gcr.io.":                 "gcr.io",  // H32
		"ghcr.io:443":             "ghcr.io", // H30
		"Ghcr.io.:443":            "ghcr.io",
		"ghcr.io:8443":            "ghcr.io:8443", // H27
		"ghcr.io.:8443":           "ghcr.io:8443",
		"reg.example:80":          "reg.example:80",
		"reg.example:65535":       "reg.example:65535",
		"localhost":               "localhost",
		"registry":                "registry",
		"registry:5000":           "registry:5000",
		"my_registry:5000":        "my_registry:5000",
		"xn--ghr-5cd.io":          "xn--ghr-5cd.io", // H33: a host like any other, and not ghcr.io
		"127.0.0.1:5000":          "127.0.0.1:5000",
		"10.0.0.1.":               "10.0.0.1",
		"[::1]:5000":              "[::1]:5000", // H35
		"[::1]":                   "[::1]",
		"[0:0:0:0:0:0:0:1]:443":   "[::1]",
		"[2001:DB8::A]:5000":      "[2001:db8::a]:5000",
		"docker.io":               "docker.io", // H31
		"index.docker.io":         "docker.io",
		"registry-1.docker.io":    "docker.io",
		"registry.hub.docker.com": "docker.io",
		"Index.Docker.IO.:443":    "docker.io",
		"index.docker.io:5000":    "index.docker.io:5000",
		"auth.docker.io":          "auth.docker.io",
		"docker.com":              "docker.com",
		host253:                   host253, // H39
		host253 + ".":             host253,
		label63 + ".io":           label63 + ".io",
		"1password.example":       "1password.example",
		"0xcafe.example":          "0xcafe.example",
		"0xregistry":              "0xregistry",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.": "123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"123456789012.DKR.ECR.US-EAST-1.AMAZONAWS.COM":  "123456789012.dkr.ecr.us-east-1.amazonaws.com",
	} {
		h, err := ParseHost(in)
		if err != nil || h.String() != want {
			t.Errorf("ParseHost(%q) = %q, %v; want %q", in, h, err, want)
		}
		if again, err := ParseHost(want); err != nil || again != h {
			t.Errorf("ParseHost(%q) is not stable: %q, %v", want, again, err)
		}
	}
}

// refused are addresses that no parser of ours may guess at, each with a part
// of the reason.
var refused = []struct{ in, reason string }{
	{"", "empty"}, // H1
	{"good.example.com\n.evil.example", "control character at byte 16"}, // H2
	{"reg.example\r\nevil", "control character at byte 11"},             // H3
	{"reg.example\r.evil", "control character at byte 11"},
	{"reg.example\n", "control character at byte 11"},
	{"reg.example\x00", "control character at byte 11"}, // H4
	{"\x1b[31mreg.example", "control character at byte 0"},
	{"reg.example\x7f", "control character at byte 11"},
	{"reg\u0085.example", "control character at byte 3"},
	{"reg\u2028.example", "control character at byte 3"},
	{"reg\u2029.example", "control character at byte 3"},
	{"reg\u202e.example", "control character at byte 3"},
	{"reg\u2066.example", "control character at byte 3"},
	{"reg\u200b.example", "control character at byte 3"},
	{"\ufeffreg.example", "control character at byte 0"},
	{"reg.\xffexample", "not UTF-8 at byte 4"}, // H7
	{"reg.\xc0\xafexample", "not UTF-8 at byte 4"},
	{"reg.\ufffdexample", "outside ASCII at byte 4"},
	{" reg.example", "space at byte 0"},
	{"reg.example evil", "space at byte 11"},
	{"reg.example\t", "control character at byte 11"},
	{"reg\u00a0.example", "space at byte 3"},
	{"https://user:pw@reg.example", "user name or password"}, // H8
	{"user@reg.example", "user name or password"},
	{"ghcr.io@evil.example", "user name or password"}, // H29
	{"x.azurecr.io:443@evil", "user name or password"},
	{"ghсr.io", "outside ASCII at byte 2"}, // H33: Cyrillic es
	{"ghcr．io", "outside ASCII at byte 4"}, // full-width dot
	{"ghcr。io", "outside ASCII"},
	{"bücher.example", "outside ASCII"},
	{"reg.example%2eevil", "'%' at byte 11"}, // H34
	{"reg.example%00", "'%' at byte 11"},
	{`reg.example\@evil`, "user name or password"},
	{`reg.example\evil`, `'\\' at byte 11`},
	{"reg.example#@evil", "user name or password"},
	{"reg.example#evil", "'#' at byte 11"},
	{"reg.example?x", "'?' at byte 11"},
	{"?x", "'?' at byte 0"},
	{"::1", "brackets"}, // H35
	{"fd00:ec2::254", "brackets"},
	{"[::1%25lo]", "'%'"},
	{"[fe80::1%eth0]:5000", "'%'"},
	{"[::1", "not closed"},
	{"[::1]5000", "after the brackets"},
	{"[::1]:", "port"},
	{"[]", "not an IPv6 address"},
	{"[127.0.0.1]", "not an IPv6 address"},
	{"[[::1]]", "after the brackets"},
	{"[reg.example]:5000", "not an IPv6 address"},
	{"[::ffff:127.0.0.1]:5000", "four numbers"},
	{"reg.example]", "character"},
	{"0x7f.1", "four numbers"},
	{"0x7f000001", "four numbers"},
	{"0X7F.0.0.0X1", "four numbers"},
	{"2130706433", "four numbers"},
	{"127.1", "four numbers"},
	{"127.0.0.01", "four numbers"},
	{"0177.0.0.1", "four numbers"},
	{"1.2.3.4.5", "four numbers"},
	{"256.0.0.1", "four numbers"},
	{"reg.example.1", "four numbers"},
	{strings.Repeat("a.", 126) + "ab", "longer than 253"}, // H39: 254 bytes
	{strings.Repeat("a", 64) + ".io", "longer than 63"},
	{"a..b", "empty label"},
	{".azurecr.io", "empty label"}, // H28
	{"reg.example..", "empty label"},
	{".", "empty"},
	{"-reg.example", "'-'"},
	{"reg-.example", "'-'"},
	{"reg.-x", "'-'"},
	{"-", "'-'"},
	{"--help", "'-'"},
	{":443", "empty"},
	{":", "port"},
	{"reg.example:", "port"},
	{"reg.example:0", "port"},
	{"reg.example:0443", "port"},
	{"reg.example:+443", "port"},
	{"reg.example:65536", "port"},
	{"reg.example:100000", "port"},
	{"reg.example:http", "port"},
	{"reg.example:443:443", "brackets"},
	{"*.example.com", "character"},
	{"reg!example", "character"},
	{"reg,example", "character"},
	{"reg;example", "character"},
	{"$(reg)", "character"},
	{`"reg.example"`, "character"},
	{"reg.example=push", "character"},
}

func TestAddressIsRefused(t *testing.T) {
	for _, tt := range refused {
		_, hostErr := ParseHost(tt.in)
		_, keyErr := ParseKey(tt.in)
		_, urlErr := ParseKey("https://" + tt.in)
		for _, err := range []error{hostErr, keyErr} {
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%q: %v; want %q", tt.in, err, tt.reason)
			}
		}
		if urlErr == nil {
			t.Errorf("https://%q is accepted", tt.in)
		}
		for _, err := range []error{hostErr, keyErr, urlErr} {
			checkShown(t, tt.in, err)
		}
	}
}

// checkShown holds an error to what a terminal, a log and a person may see.
func checkShown(t testing.TB, in string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if KindOf(err) != Misconfigured {
		t.Errorf("%q: kind %s", in, KindOf(err))
	}
	msg := err.Error()
	if len(msg) > 180 {
		t.Errorf("%q: %d bytes of error", in, len(msg))
	}
	if !strings.HasPrefix(msg, "invalid server address: ") {
		t.Errorf("%q: %s", in, msg)
	}
	if i := strings.IndexFunc(msg, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		t.Errorf("%q: byte %d of the error is raw: %q", in, i, msg)
	}
}

func TestErrorShowsForeignTextEscaped(t *testing.T) {
	for in, want := range map[string]string{
		"good.example.com\n.evil.example": `: good.example.com\x0a.evil.example`,
		"\x1b[31mreg":                     `: \x1b[31mreg`,
		"ghсr.io":                         `: gh\u0441r.io`,
		"ghcr．io":                         `: ghcr\uff0eio`,
		"reg\U0001f433":                   `: reg\U0001f433`,
		"reg\xff":                         `: reg\xff`,
		"https://user:pw@reg.example":     ": https://***@reg.example",
		"https://user:p@w@reg.example":    ": https://***@reg.example",
		"user:pw@reg.example/a@b":         ": ***@b",
		"u@reg.example":                   ": ***@reg.example",
		"@reg.example":                    ": ***@reg.example",
		"user:pw%40reg.example":           ": ***@reg.example",
		"pw@x://reg.example":              ": ***@x://reg.example",
		"reg.example?token=pw":            ": reg.example?***",
		"https://reg.example/a#pw":        ": https://reg.example/a#***",
		strings.Repeat("a", 500):          strings.Repeat("a", 65) + "...",
	} {
		_, err := ParseKey(in)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v; want ...%s", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: the error repeats the password: %v", in, err)
		}
	}
}

func TestSchemeAndPathAreNoPartOfAHost(t *testing.T) {
	for _, in := range []string{"https://ghcr.io", "ghcr.io/", "ghcr.io/acme", "//ghcr.io", "https://", "://h"} {
		if h, err := ParseHost(in); err == nil {
			t.Errorf("ParseHost(%q) = %q", in, h)
		}
	}
}

func TestHostParts(t *testing.T) {
	for _, tt := range []struct {
		in, name, port, docker string
		loopback               bool
		labels                 []string
	}{
		{"ghcr.io", "ghcr.io", "", "ghcr.io", false, []string{"ghcr", "io"}},
		{"reg.example:5000", "reg.example", "5000", "reg.example:5000", false, []string{"reg", "example"}},
		{"index.docker.io", "docker.io", "", "https://index.docker.io/v1/", false, []string{"docker", "io"}},
		{"[::1]:5000", "::1", "5000", "[::1]:5000", true, nil},
		{"[2001:db8::1]", "2001:db8::1", "", "[2001:db8::1]", false, nil},
		{"127.0.0.1:5055", "127.0.0.1", "5055", "127.0.0.1:5055", true, nil},
		{"127.9.9.9", "127.9.9.9", "", "127.9.9.9", true, nil},
		{"128.0.0.1", "128.0.0.1", "", "128.0.0.1", false, nil},
		{"localhost:5000", "localhost", "5000", "localhost:5000", true, []string{"localhost"}},
		{"reg.localhost", "reg.localhost", "", "reg.localhost", true, []string{"reg", "localhost"}},
		{"notlocalhost", "notlocalhost", "", "notlocalhost", false, []string{"notlocalhost"}},
		{"localhost.evil.example", "localhost.evil.example", "", "localhost.evil.example", false, []string{"localhost", "evil", "example"}},
		{"127.0.0.1.evil.example", "127.0.0.1.evil.example", "", "127.0.0.1.evil.example", false, []string{"127", "0", "0", "1", "evil", "example"}},
	} {
		h := host(t, tt.in)
		if h.Name() != tt.name || h.Port() != tt.port || h.IsLoopback() != tt.loopback || h.DockerKey() != tt.docker || !slices.Equal(h.Labels(), tt.labels) {
			t.Errorf("%s: name %q port %q loopback %v key %q labels %q", tt.in, h.Name(), h.Port(), h.IsLoopback(), h.DockerKey(), h.Labels())
		}
	}
	var zero Host
	if !zero.IsZero() || zero.Name() != "" || zero.Port() != "" || zero.IsLoopback() || zero.Labels() != nil {
		t.Error("the zero host has parts")
	}
}

// suffixes are the domains under which products give their customers hosts.
var suffixes = []string{"azurecr.io", "amazonaws.com", "pkg.dev", "ghe.com", "jfrog.io"}

// lookAlikes are names that carry S without being under it (the table of
// GO-2026-6225 and its kin).
var lookAlikes = []string{
	"S", "xS", "x-S", "x.S.evil.example", "S.evil", "S.evil.example", "x.S:443@evil", "x.S@evil", "x.S%2eevil",
	`x.S\@evil`, "x.S#@evil", "x.S#evil", "x.S?evil", "evil/x.S", "x.S\n.evil", "x.S\x00.evil", ".S", "x..S", "x.S..", "x.S:8443", "x.S．evil", "x.xS",
}

func TestLookAlikeIsNotUnderADomain(t *testing.T) {
	for _, s := range suffixes {
		if left, ok := host(t, "x."+s).Under(s); !ok || !slices.Equal(left, []string{"x"}) {
			t.Errorf("x.%s: %q %v", s, left, ok)
		}
		if left, ok := host(t, "A.b."+strings.ToUpper(s)+".:443").Under(s); !ok || !slices.Equal(left, []string{"a", "b"}) {
			t.Errorf("a.b.%s: %q %v", s, left, ok)
		}
		for _, form := range lookAlikes {
			in := strings.ReplaceAll(form, "S", s)
			k, err := ParseKey(in)
			if err != nil {
				continue
			}
			if left, ok := k.Host.Under(s); ok {
				t.Errorf("%q counts as under %s (%q)", in, s, left)
			}
		}
	}
	if _, ok := host(t, "10.0.0.1").Under("0.1"); ok {
		t.Error("an address is under a domain")
	}
	if _, ok := (Host{}).Under("io"); ok {
		t.Error("no host is under a domain")
	}
}

func TestHostAsText(t *testing.T) {
	in := struct{ A, B Host }{A: host(t, "GHCR.io:443")}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"A":"ghcr.io","B":""}` {
		t.Fatalf("%s, %v", b, err)
	}
	out := in
	out.A = DockerHub
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%v, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"a b"}`), &out); err == nil {
		t.Error("a bad host is accepted")
	}
}

func FuzzParseHost(f *testing.F) {
	for _, tt := range refused {
		f.Add(tt.in)
	}
	for _, s := range []string{"ghcr.io", "GHCR.IO.:443", "[::1]:5000", "registry-1.docker.io", "127.0.0.1:5000", "a_b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		h, err := ParseHost(in)
		if err != nil {
			if h != (Host{}) {
				t.Fatalf("%q: a host beside the error", in)
			}
			checkShown(t, in, err)
			return
		}
		if again, err := ParseHost(h.String()); err != nil || again != h {
			t.Fatalf("%q: %q is not stable: %q, %v", in, h, again, err)
		}
		if strings.ContainsFunc(h.String(), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-_:[]", r) }) {
			t.Fatalf("%q: %q has a byte no host has", in, h)
		}
		// Another reader of URLs must see the same host and port.
		u, err := url.Parse("https://" + h.String() + "/v2/")
		if err != nil || u.Host != h.String() || u.Hostname() != h.Name() || u.Port() != h.Port() || u.Path != "/v2/" {
			t.Fatalf("%q: net/url reads %q as %v, %v", in, h, u, err)
		}
	})
}
