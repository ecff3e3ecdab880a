// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/regmint/regmint/providers"
)

func TestForeignTextIsPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a\x1b[31mb": `a\x1b[31mb`, "a\r\nb\x00": `a\x0d\x0ab\x00`, "\x7f": `\x7f`,
		"\u202eevil": `\u202eevil`, "bad\xff": `bad\xff`, "ü": "ü", "\u0085\u2028": `\u0085\u2028`,
	} {
		if got := Printable(in, 200); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := Printable(strings.Repeat("ü", 200), 201); len(got) != 200 || !utf8.ValidString(got) {
		t.Errorf("cut to %d bytes", len(got))
	}
}

const secret = "s3cr3t/+value&with=odd \"bytes\" 0123456789"

func TestNoEncodingOfASecretSurvives(t *testing.T) {
	j, _ := json.Marshal(secret)
	red := newRedactor(Request{
		Secrets: []providers.Secret{providers.NewSecret(secret)},
		Header: http.Header{
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("usr:headerPassword99"))},
			"Private-Token": {"glpat-abcdefgh"}, "Accept": {"application/json"},
		},
	})
	for _, leak := range []string{
		secret, secret[5:20], url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte("u:" + secret)),
		base64.StdEncoding.EncodeToString([]byte("us:" + secret)), base64.StdEncoding.EncodeToString([]byte("usr:" + secret)), string(j),
		"headerPassword99", base64.StdEncoding.EncodeToString([]byte("usr:headerPassword99")), "glpat-abcdefgh",
	} {
		if got := red.clean("you sent "+leak+" here", 200); got != withheld {
			t.Errorf("%q came out as %q", leak, got)
		}
	}
	if got := red.clean("application/json is not acceptable", 200); got != "application/json is not acceptable" {
		t.Errorf("harmless text came out as %q", got)
	}
}

func TestLongTokensAreCutOutWhoeverTheyBelongTo(t *testing.T) {
	tok := strings.Repeat("abcDEF0123-_", 5)
	if got := Clean("try "+tok+" later, id 6f1c2d3e-aaaa-bbbb-cccc-0123456789ab", 200); got != "try […] later, id 6f1c2d3e-aaaa-bbbb-cccc-0123456789ab" {
		t.Errorf("got %q", got)
	}
}

func TestErrorEnvelopesAreRecognised(t *testing.T) {
	for body, want := range map[string][2]string{
		`{"errors":[{"code":"DENIED","message":"no access"}]}`:                  {"DENIED", "no access"},
		`{"errors":["permission denied"]}`:                                      {"", "permission denied"},
		`{"error":"invalid_grant","error_description":"expired"}`:               {"invalid_grant", "expired"},
		`{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}`:    {"PERMISSION_DENIED", "no"},
		`{"code":"InvalidParameter","message":"x"}`:                             {"InvalidParameter", "x"},
		`{"detail":"2FA required"}`:                                             {"", "2FA required"},
		`{"__type":"ExpiredTokenException","message":"The token has expired"}`:  {"ExpiredTokenException", "The token has expired"},
		`{"status-code":404,"siesta-faultid":"u","status-message":"NOT_FOUND"}`: {"", "NOT_FOUND"},
		`<html>secret page</html>`:                                              {}, `"text"`: {}, `{}`: {}, `{"errors":[]}`: {}, ``: {}, `{"message":{"a":["b"]}}`: {},
	} {
		if code, msg := envelope([]byte(body)); code != want[0] || msg != want[1] {
			t.Errorf("%s: got %q, %q", body, code, msg)
		}
	}
}

func TestStrictJSONRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"": errEmpty, "  ": errEmpty, "<html>": errHTML, "\xff\xfe{\x00": errNotJSON, `{"a":1,"a":2}`: errDuplicate, `{"a":1} {}`: errTrailing,
		`{"a":`: errNotJSON, `{a:1}`: errNotJSON, `]`: errNotJSON, `{"a":1]`: errNotJSON, strings.Repeat("[", 33) + strings.Repeat("]", 33): errDeep,
		strings.Repeat("[", 100000): errDeep, `{"a":1,}`: errNotJSON,
	} {
		if v, err := ParseJSON([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%.40q: got %v, %v, want %v", in, v, err, want)
		}
	}
	v, err := ParseJSON([]byte(` {"a":[1e18,{"b":null}]} `))
	if m, ok := v.(map[string]any); err != nil || !ok || m["a"].([]any)[0] != json.Number("1e18") {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestFailedReferenceSaysWhatToDo(t *testing.T) {
	h, err := providers.ParseHost("reg.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		ref   string
		value string
		err   error
		kind  providers.Kind
		want  string
	}{
		{"keyring:reg.example", "", errors.New("not found"), providers.LoginRequired, "reg.example: keyring:reg.example: not found; run: regmint login reg.example"},
		{"env:CI_TOKEN", "", errors.New("is not set"), providers.Misconfigured, "reg.example: env:CI_TOKEN: is not set"},
		{"env:CI_TOKEN", "", &providers.Error{Kind: providers.Unavailable, Err: errors.New("keyring hangs")}, providers.Unavailable, "reg.example: keyring hangs"},
		{"env:CI_TOKEN", "a\nb", nil, providers.Misconfigured, "reg.example: env:CI_TOKEN holds a line break or a NUL byte"},
		{"env:CI_TOKEN", "", nil, providers.Misconfigured, "reg.example: env:CI_TOKEN: is empty"},
	} {
		ref, err := providers.ParseSecretRef(tc.ref)
		if err != nil {
			t.Fatal(err)
		}
		d := providers.Deps{Resolve: func(context.Context, providers.SecretRef) (providers.Secret, error) {
			return providers.NewSecret(tc.value), tc.err
		}}
		_, err = Resolve(t.Context(), d, h, ref)
		if providers.KindOf(err) != tc.kind || err.Error() != tc.want {
			t.Errorf("got %v (%s)", err, providers.KindOf(err))
		}
	}
}

func TestJSONKeyIsPutOnOneLine(t *testing.T) {
	d := providers.Deps{Resolve: func(context.Context, providers.SecretRef) (providers.Secret, error) {
		return providers.NewSecret("{\n  \"type\": \"service_account\",\r\n  \"k\": \"a\\nb\"\n}\n"), nil
	}}
	s, err := Resolve(t.Context(), d, providers.Host{}, providers.SecretRef{Scheme: "file", Value: "/key.json"})
	if err != nil || s.Reveal() != `{"type":"service_account","k":"a\nb"}` {
		t.Errorf("got %q, %v", s.Reveal(), err)
	}
}

func TestURLsWithUserinfoOrOddSchemesAreNotSent(t *testing.T) {
	c, s := scripted(t, answer(200))
	for _, u := range []string{"https://user:pw99@reg.example/", "ftp://reg.example/", "/relative", "https://", "https://reg.example%0a/", "reg.example", "https:reg.example"} {
		_, err := c.Do(t.Context(), Request{URL: u})
		if providers.KindOf(err) != providers.Misconfigured || strings.Contains(err.Error(), "pw99") {
			t.Errorf("%s: %v", u, err)
		}
	}
	if len(s.at) != 0 {
		t.Errorf("%d requests were sent", len(s.at))
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("it was s3cr3t-0123456789-abcdef!", 3)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		const s = "CNRY0123456789abcdef"
		red := newRedactor(Request{Secrets: []providers.Secret{providers.NewSecret(s)}})
		if cut < 0 || cut > len(text) {
			return
		}
		if out := red.clean(text[:cut]+s+text[cut:], 200); strings.Contains(out, s[:12]) || strings.Contains(out, s[8:]) || len(out) > 200 {
			t.Errorf("%q", out)
		}
	})
}
