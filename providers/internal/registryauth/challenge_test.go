// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestChallengesOfRealRegistriesAreRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		values []string
		want   []Challenge
	}{
		"distribution": {
			[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull,push"`},
			[]Challenge{{"bearer", map[string]string{"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:library/alpine:pull,push"}}},
		},
		"nexus upper case": {[]string{`BASIC realm="Sonatype Nexus Repository Manager"`}, []Challenge{{"basic", map[string]string{"realm": "Sonatype Nexus Repository Manager"}}}},
		"gitea, two headers": {
			[]string{`Bearer realm="https://g/v2/token",service="container_registry",scope="*"`, `Basic realm="https://g/v2",service="container_registry",scope="*"`},
			[]Challenge{{"bearer", map[string]string{"realm": "https://g/v2/token", "service": "container_registry", "scope": "*"}}, {"basic", map[string]string{"realm": "https://g/v2", "service": "container_registry", "scope": "*"}}},
		},
		"three in one header": {
			[]string{`Negotiate, NTLM TlRMTVNTUAAB==, Basic realm="a, b=\"c\"" , charset = utf-8`},
			[]Challenge{{"negotiate", nil}, {"ntlm", nil}, {"basic", map[string]string{"realm": `a, b="c"`, "charset": "utf-8"}}},
		},
		"empty parts":     {[]string{` , ,Basic realm=x,,service=y,`, ""}, []Challenge{{"basic", map[string]string{"realm": "x", "service": "y"}}}},
		"kerberos answer": {[]string{"Negotiate oRQwEqADCgEB/+=, Bearer realm=\"https://a/t\""}, []Challenge{{"negotiate", nil}, {"bearer", map[string]string{"realm": "https://a/t"}}}},
		"a bare basic":    {[]string{"Basic"}, []Challenge{{"basic", nil}}},
	} {
		got, err := ParseChallenges(tc.values)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// H44, H45.
func TestBrokenChallengesAreNamedAndSkipped(t *testing.T) {
	t.Parallel()
	params := make([]string, 0, 10000)
	for i := range 10000 {
		params = append(params, fmt.Sprintf("p%d=v", i))
	}
	for name, tc := range map[string]struct {
		values []string
		errs   string
		usable string // scheme of the usable one
	}{
		"unterminated quote":       {[]string{`Bearer realm="https://a`, `Basic realm="x"`}, "an unterminated quote", "basic"},
		"two realms":               {[]string{`Bearer realm="https://a/",realm="https://b/"`, "Basic realm=x"}, "a parameter twice", "basic"},
		"empty value":              {[]string{`Bearer realm=`, "Basic realm=x"}, "", "basic"},
		"empty value, then more":   {[]string{`Bearer realm=,service="x"`, "Basic realm=x"}, "", "basic"},
		"no realm":                 {[]string{`Bearer service="x"`}, "", ""},
		"empty realm":              {[]string{`Bearer realm=""`}, "", ""},
		"CR LF in the service":     {[]string{"Bearer realm=\"https://a/\",service=\"x\r\ny\""}, "a control character in a value", ""},
		"escaped NUL":              {[]string{"Bearer realm=\"https://a/\\\x00\""}, "a control character in a value", ""},
		"garbage":                  {[]string{"@@@", "\xff\xfe"}, "no scheme", ""},
		"a quote as scheme":        {[]string{`"Bearer" realm=x`}, "no scheme", ""},
		"missing comma":            {[]string{`Bearer realm="https://a/" service="x"`}, "no comma after a parameter", ""},
		"10,000 parameters":        {[]string{"Bearer " + strings.Join(params, ",")}, "challenges of more than 8 KiB", ""},
		"33 parameters":            {[]string{"Bearer realm=\"https://a/\"," + strings.Join(params[:32], ",")}, "more than 32 parameters", ""},
		"100 challenges":           {[]string{strings.Repeat("Negotiate, ", 100) + "Basic realm=x"}, "more than 16 challenges", ""},
		"8 KiB over all values":    {[]string{strings.Repeat("a", 8000), "Basic realm=\"" + strings.Repeat("x", 200) + "\""}, "challenges of more than 8 KiB", ""},
		"negotiate alone":          {[]string{"Negotiate"}, "", ""},
		"basic, negotiate, bearer": {[]string{`Basic realm="x", Negotiate, Bearer realm="https://a/"`}, "", "bearer"},
	} {
		cs, err := ParseChallenges(tc.values)
		if tc.errs != "" && (err == nil || !strings.Contains(err.Error(), tc.errs)) {
			t.Errorf("%s: error %v, want %q", name, err, tc.errs)
		}
		if c, _ := Usable(cs); c.Scheme != tc.usable {
			t.Errorf("%s: usable %q of %q, want %q", name, c.Scheme, cs, tc.usable)
		}
		if len(cs) > maxChallenges {
			t.Errorf("%s: %d challenges", name, len(cs))
		}
	}
}

func FuzzChallenge(f *testing.F) {
	for _, s := range []string{`Bearer realm="https://a/t",service="s",scope="repository:a:pull"`, `Negotiate abc==, Basic realm="x\"y"`, `Bearer realm="`, "Basic", ",,,", "a=b", "Bearer a b=c", "Digest qop=\"auth,auth-int\""} {
		f.Add(s, "Basic realm=x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		cs, err := ParseChallenges([]string{a, b})
		if len(cs) > maxChallenges {
			t.Fatalf("%d challenges", len(cs))
		}
		if len(a)+len(b) > maxChallengeBytes && err == nil {
			t.Fatal("no complaint about the size")
		}
		for _, c := range cs {
			if c.Scheme == "" || len(c.Params) > maxParams {
				t.Fatalf("%q", c)
			}
			var parts []string
			for k, v := range c.Params {
				if strings.ContainsFunc(v, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
					t.Fatalf("control character in %q", v)
				}
				parts = append(parts, k+`="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v)+`"`)
			}
			if len(parts) == 0 || len(strings.Join(parts, ",")) > 4<<10 {
				continue
			}
			again, err := ParseChallenges([]string{c.Scheme + " " + strings.Join(parts, ",")})
			if err != nil || len(again) != 1 || !reflect.DeepEqual(again[0], c) {
				t.Fatalf("%q came back as %q, %v", c, again, err)
			}
		}
	})
}
