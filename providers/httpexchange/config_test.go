// SPDX-License-Identifier: Apache-2.0

package httpexchange

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// good is an account that opens.
func good() (providers.Account, *Options) {
	return providers.Account{Username: "ci", ExpiresIn: providers.Duration(time.Hour)}, &Options{
		URL: "https://sts.example/token", Secret: providers.SecretRef{Scheme: "env", Value: "S"}, Form: map[string]string{"s": "{{.Secret}}"}, PasswordPath: "token",
	}
}

func TestConfigurationMistakesAreNamed(t *testing.T) {
	t.Parallel()
	id, err := oidc.ParseRef("github")
	if err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*providers.Account, *Options){
		"":                                        func(*providers.Account, *Options) {},
		"url is missing":                          func(_ *providers.Account, o *Options) { o.URL = "" },
		"url must be https":                       func(_ *providers.Account, o *Options) { o.URL = "http://sts.example/" },
		"url must be an absolute URL":             func(_ *providers.Account, o *Options) { o.URL = "https://u:p@sts.example/" },
		"only the path and the query":             func(_ *providers.Account, o *Options) { o.URL = "https://{{.Host}}/" },
		"url: only the path":                      func(_ *providers.Account, o *Options) { o.URL = "https://sts.example{{.Host}}/" },
		"must not stand in the path":              func(_ *providers.Account, o *Options) { o.URL = "https://sts.example/{{.Secret}}" },
		"method must be":                          func(_ *providers.Account, o *Options) { o.Method = "DELETE" },
		"a GET has no body":                       func(_ *providers.Account, o *Options) { o.Method = "GET" },
		"exclude each other":                      func(_ *providers.Account, o *Options) { o.JSON = map[string]string{"a": "b"} },
		"body needs content_type":                 func(_ *providers.Account, o *Options) { o.Form, o.Body = nil, "{{.Secret}}" },
		"content_type belongs to body":            func(_ *providers.Account, o *Options) { o.ContentType = "text/plain" },
		"is no header name":                       func(_ *providers.Account, o *Options) { o.Headers = map[string]string{"a b": "c"} },
		"headers: Content-Type cannot be set":     func(_ *providers.Account, o *Options) { o.Headers = map[string]string{"content-type": "c"} },
		"headers: Host cannot be set":             func(_ *providers.Account, o *Options) { o.Headers = map[string]string{"HOST": "c"} },
		"password_path is missing":                func(_ *providers.Account, o *Options) { o.PasswordPath = "" },
		"password_path: write names":              func(_ *providers.Account, o *Options) { o.PasswordPath = "a..b" },
		"username or username_path is missing":    func(a *providers.Account, _ *Options) { a.Username = "" },
		"username holds a line break":             func(a *providers.Account, _ *Options) { a.Username = "a\nb" },
		"nobody says how long":                    func(a *providers.Account, _ *Options) { a.ExpiresIn = 0 },
		"expires_in_path, expires_at_path":        func(_ *providers.Account, o *Options) { o.ExpiresInPath, o.ExpiresAtPath = "a", "b" },
		"secret is not set":                       func(_ *providers.Account, o *Options) { o.Secret = providers.SecretRef{} },
		"no template uses {{.Secret}}":            func(_ *providers.Account, o *Options) { o.Form = nil },
		"identity_token is not set":               func(_ *providers.Account, o *Options) { o.Form["t"] = "{{.IdentityToken}}" },
		"no template uses {{.IdentityToken}}":     func(_ *providers.Account, o *Options) { o.IdentityToken = id },
		"audience belongs to identity_token":      func(_ *providers.Account, o *Options) { o.Audience = "a" },
		"form.t: no valid template":               func(_ *providers.Account, o *Options) { o.Form["t"] = "{{.Secret" },
		"rotate has no meaning":                   func(a *providers.Account, _ *Options) { a.Rotate = providers.Duration(time.Hour) },
		"endpoint has no meaning":                 func(a *providers.Account, _ *Options) { a.Endpoint = "https://x.example" },
		"form.t: a template has no field .Env":    func(_ *providers.Account, o *Options) { o.Form["t"] = "{{.Env}}" },
		"form.t: a template has no function html": func(_ *providers.Account, o *Options) { o.Form["t"] = "{{html .Host}}" },
	} {
		a, o := good()
		edit(&a, o)
		a.Options = o
		_, err := New().Open(a, providers.Deps{})
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := New().Open(providers.Account{}, providers.Deps{}); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("without options: %v", err)
	}
}

func TestTemplatesHoldFieldsAndFourFunctionsOnly(t *testing.T) {
	t.Parallel()
	in := inputs{
		Secret: `s"/+ü`, IdentityToken: "id", Host: "reg.example", Username: "ci",
		Scope: words{[]string{"repository:a:pull", "repository:b:pull"}, " "}, Repository: words{[]string{"a", "b"}, ","}, Access: words{[]string{"pull"}, ","},
	}
	for text, want := range map[string]string{
		"plain": "plain", "{{.Host}}/{{.Username}}": "reg.example/ci", "{{.Scope}}": "repository:a:pull repository:b:pull",
		`{{join .Scope "&scope="}}`: "repository:a:pull&scope=repository:b:pull", `{{join .Repository ";"}} {{.Access}}`: "a;b pull",
		"{{json .Secret}}": `"s\"/+ü"`, "{{.Secret | urlquery}}": "s%22%2F%2B%C3%BC", "{{.Scope | urlquery}}": "repository%3Aa%3Apull+repository%3Ab%3Apull",
		`{{base64 .Username ":" .Secret}}`: base64.StdEncoding.EncodeToString([]byte(`ci:s"/+ü`)), "{{json .Repository}}": `"a,b"`, `{{"{{"}}`: "{{", "": "",
	} {
		tm, err := parseTemplate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := tm.run(in); err != nil || got != want {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"{{.}}", "{{$}}", "{{.Secret.Foo}}", "{{range .Scope}}x{{end}}", "{{if .Scope}}x{{end}}", "{{with .Host}}{{.}}{{end}}", `{{define "x"}}y{{end}}`, `{{template "x"}}`,
		"{{$x := .Host}}{{$x}}", "{{$x := .Host}}", "{{printf `%s` .Host}}", "{{call .Host}}", "{{len .Host}}", "{{html .Host}}", "{{index .Scope 0}}", "{{1}}", "{{true}}", "{{nil}}", "{{.Scope.String}}",
		"{{join .Host `,`}}", "{{join}}", "{{(.Host)}}{{.Nope}}", "{{break}}", "{{block `x` .}}{{end}}", "{{.Host | printf `%q`}}",
	} {
		if _, err := parseTemplate(text); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestWiderMeansTheEndpointWasNotToldEverything(t *testing.T) {
	t.Parallel()
	scope, repo, access := fields{Scope: true}, fields{Repository: true}, fields{Access: true}
	both, none := fields{Repository: true, Access: true}, fields{Secret: true}
	pull := providers.Grant{Repository: "a", Access: providers.Pull}
	push := providers.Grant{Repository: "b", Access: providers.Push}
	every := providers.Grant{Access: providers.Pull}
	for _, tc := range []struct {
		uses fields
		gs   []providers.Grant
		want bool
	}{
		{none, nil, false},
		{none, []providers.Grant{pull}, true},
		{scope, []providers.Grant{pull, push}, false},
		{scope, []providers.Grant{every}, true},
		{scope, []providers.Grant{every, push}, true},
		{both, []providers.Grant{pull}, false},
		{both, []providers.Grant{pull, push}, true},
		{both, []providers.Grant{every}, false},
		{both, []providers.Grant{every, push}, true},
		{access, []providers.Grant{every}, false},
		{access, []providers.Grant{pull}, true},
		{repo, []providers.Grant{pull}, false},
		{repo, []providers.Grant{every}, true},
		{both, []providers.Grant{{Access: providers.Push}, pull}, false},
		{both, []providers.Grant{{Repository: "a"}, push}, false},
	} {
		if got := wider(tc.uses, tc.gs); got != tc.want {
			t.Errorf("%+v of %v: %v", tc.uses, tc.gs, got)
		}
	}
	// Naming one repository must not take away what a grant on all of them gives.
	if got := fmt.Sprint(scopes([]providers.Grant{every, push}), repositories([]providers.Grant{every, push})); got != "[] []" {
		t.Errorf("got %s", got)
	}
}

func TestKeyHasTheGrantsWhereTheEndpointIsToldOfThem(t *testing.T) {
	t.Parallel()
	a, o := good()
	key := func(gs ...providers.Grant) string {
		a.Options = o
		s, err := New().Open(a, providers.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Key(providers.Request{Grants: gs})
	}
	pull, push := providers.Grant{Repository: "a", Access: providers.Pull}, providers.Grant{Repository: "b", Access: providers.Push}
	if key(pull) != key(push) {
		t.Error("an endpoint that is told nothing mints one credential for all")
	}
	o.Form["scope"] = "{{.Scope}}"
	if key(pull) == key(push) || key(pull, push) != key(push, pull) || key(pull) == key() || key(pull) == key(providers.Grant{Repository: "a", Access: providers.Push}) {
		t.Error("keys do not follow the grants")
	}
	if key(providers.Grant{Repository: `a"="pull`}) == key(providers.Grant{Repository: "a"}) {
		t.Error("keys can be forged")
	}
}

func TestExpiryOfAnswers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		unit     unit
		value    string
		fallback time.Duration
		life     time.Duration
		err      string
	}{
		"seconds":                    {seconds, `600`, 0, 10 * time.Minute, ""},
		"seconds as text":            {seconds, `"600"`, 0, 10 * time.Minute, ""},
		"seconds 3.6e3":              {seconds, `3.6e3`, 0, time.Hour, ""},
		"a short life is taken":      {seconds, `5`, 0, 5 * time.Second, ""},
		"seconds win over fall-back": {seconds, `600`, time.Hour, 10 * time.Minute, ""},
		"zero":                       {seconds, `0`, time.Hour, 0, "already expired"},
		"negative":                   {seconds, `-1`, time.Hour, 0, "already expired"},
		"very negative":              {seconds, `-1e300`, time.Hour, 0, "already expired"},
		"absurd":                     {seconds, `1e18`, 0, lifeLimit, ""},
		"more absurd":                {seconds, `1e400`, 0, lifeLimit, ""},
		"fraction":                   {seconds, `1.5`, time.Hour, 0, "no whole number"},
		"text of a fraction":         {seconds, `"1.5"`, time.Hour, 0, "no whole number"},
		"word":                       {seconds, `"soon"`, time.Hour, 0, "no whole number"},
		"true":                       {seconds, `true`, time.Hour, 0, "no whole number"},
		"null, fall-back":            {seconds, `null`, time.Hour, time.Hour, ""},
		"null, none":                 {seconds, `null`, 0, 0, "no expiry at exp; set expires_in"},
		"RFC 3339":                   {date, `"2026-11-21T08:00:00Z"`, 0, time.Hour, ""},
		"RFC 3339 with a zone":       {date, `"2026-11-21T10:30:00.5+02:00"`, 0, 90*time.Minute + 500*time.Millisecond, ""},
		"RFC 3339 of yesterday":      {date, `"2026-11-20T08:00:00Z"`, time.Hour, 0, "already expired"},
		"Unix":                       {date, fmt.Sprint(now.Unix() + 60), 0, time.Minute, ""},
		"Unix as text":               {date, fmt.Sprintf("%q", fmt.Sprint(now.Unix()+60)), 0, time.Minute, ""},
		"Unix in milliseconds":       {date, fmt.Sprint(now.UnixMilli()), 0, 0, "use expires_at_ms_path"},
		"another date":               {date, `"Sat, 21 Nov 2026"`, 0, 0, "neither an RFC 3339"},
		"milliseconds":               {millis, fmt.Sprint(now.UnixMilli() + 1500), 0, 1500 * time.Millisecond, ""},
		"milliseconds, absurd":       {millis, `9e18`, 0, lifeLimit, ""},
		"milliseconds of 1970":       {millis, `600`, 0, 0, "already expired"},
	} {
		p := &plan{password: path{{"t", -1}}, expires: path{{"exp", -1}}, unit: tc.unit}
		got, err := p.read([]byte(`{"t":"x","exp":`+tc.value+`}`), providers.Account{Username: "u", ExpiresIn: providers.Duration(tc.fallback)}, now, now)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got %v, %v", name, got.expires, err)
			}
			continue
		}
		if err != nil || got.expires.Sub(now) != tc.life {
			t.Errorf("%s: life %v, %v", name, got.expires.Sub(now), err)
		}
	}
}

// A life counts from before the request: a slow answer does not make it longer.
func TestASlowAnswerDoesNotLengthenALife(t *testing.T) {
	t.Parallel()
	asked := time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)
	p := &plan{password: path{{"t", -1}}, expires: path{{"e", -1}}, unit: seconds}
	got, err := p.read([]byte(`{"t":"x","e":60}`), providers.Account{}, asked, asked.Add(9*time.Second))
	if err != nil || got.expires.Sub(asked) != time.Minute {
		t.Errorf("got %v, %v", got.expires, err)
	}
	if _, err := p.read([]byte(`{"t":"x","e":60}`), providers.Account{}, asked, asked.Add(time.Minute)); !errors.Is(err, errExpired) {
		t.Errorf("got %v", err)
	}
}

func TestAnswersOfTheWrongShapeAreRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for body, want := range map[string]string{
		`{"u":"a","p":"b"}`: "", `{"u":"a"}`: "nothing at password_path (p)", `{"p":"b"}`: "nothing at username_path (u)", `{"u":"a","p":""}`: "is empty at password_path",
		`{"u":"a","p":7}`: "no text at password_path", `{"u":"a","p":"x\r\ny"}`: "a line break or a NUL byte at password_path", `{"u":"a\u0000","p":"x"}`: "at username_path", `[]`: "nothing at",
		`"p"`: "nothing at", `null`: "nothing at", `{"u":"a","p":"b","p":"c"}`: "a key twice", `{"u":"a","p":{"x":"CNRY"}}`: "no text at password_path",
	} {
		p := &plan{password: path{{"p", -1}}, username: path{{"u", -1}}}
		_, err := p.read([]byte(body), providers.Account{ExpiresIn: providers.Duration(time.Hour)}, now, now)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CNRY")) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

func TestPathsLeadThroughNamesAndIndexes(t *testing.T) {
	t.Parallel()
	v := map[string]any{"a": map[string]any{"b": []any{"x", map[string]any{"c.d": "y", "": "z"}}}, "n": nil}
	for s, want := range map[string]any{
		"a.b[0]": "x", `a.b[1]["c.d"]`: "y", `a["b"][1][""]`: "z", "a.b[2]": nil, "a.b.c": nil, "a[0]": nil, "x": nil, "n": nil, "n.x": nil, "a.b[0].x": nil,
	} {
		p, err := parsePath(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if got, ok := p.find(v); got != want || ok != (want != nil) {
			t.Errorf("%s: got %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", ".", "a.", ".a", "a..b", "a[", "a[]", "a[-1]", "a[01]", "a[x]", "a[99999]", `a["b]`, `a["b"`, "a]", "a[0]b", `"a"`, strings.Repeat("a.", 16) + "a"} {
		if p, err := parsePath(s); err == nil {
			t.Errorf("%q was read as %v", s, p)
		}
	}
}

func FuzzJSONPath(f *testing.F) {
	for _, s := range []string{"a.b[0]", `a["b.c"].d`, "[0][1]", `["\u00e9"]`, "a[0", "..", "a.[0]"} {
		f.Add(s, `{"a":{"b":["x"]}}`)
	}
	f.Fuzz(func(t *testing.T, s, body string) {
		p, err := parsePath(s)
		if err != nil {
			return
		}
		again, err := parsePath(p.String())
		if err != nil || again.String() != p.String() || len(again) != len(p) || len(p) > maxSteps {
			t.Fatalf("%q became %q: %v", s, p.String(), err)
		}
		for i := range p {
			if p[i] != again[i] {
				t.Fatalf("%q became %q", s, p.String())
			}
		}
		pl := &plan{password: p, expires: p, unit: date}
		got, err := pl.read([]byte(body), providers.Account{Username: "u", ExpiresIn: 1e12}, time.Unix(1e9, 0), time.Unix(1e9, 0))
		if err == nil && (got.password == "" || !got.expires.After(time.Unix(1e9, 0))) {
			t.Fatalf("%q in %q: %+v", s, body, got)
		}
	})
}
