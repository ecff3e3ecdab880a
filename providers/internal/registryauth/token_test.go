// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

var now = time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)

func jwt(payload string) string {
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

// H49, H50, H51.
func TestTokenAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body  string
		token string
		life  time.Duration
		err   string
	}{
		"docker":              {`{"token":"a","expires_in":300,"issued_at":"2026-11-21T07:00:00Z"}`, "a", 300 * time.Second, ""},
		"oauth2":              {`{"access_token":"a","expires_in":3600,"refresh_token":"r","scope":""}`, "a", time.Hour, ""},
		"both differ":         {`{"token":"a","access_token":"b"}`, "b", time.Minute, ""},
		"access_token empty":  {`{"token":"a","access_token":""}`, "a", time.Minute, ""},
		"access_token null":   {`{"token":"a","access_token":null,"refresh_token":null}`, "a", time.Minute, ""},
		"nothing":             {`{}`, "", 0, "holds no token"},
		"empty":               {`{"token":""}`, "", 0, "holds no token"},
		"a number":            {`{"token":123}`, "", 0, "token is no text"},
		"null":                {`null`, "", 0, "no JSON object"},
		"an array":            {`["a"]`, "", 0, "no JSON object"},
		"a web page":          {`<html>CNRYbody</html>`, "", 0, "web page"},
		"UTF-16":              {"\xff\xfe{\x00}\x00", "", 0, "not JSON"},
		"empty body":          {``, "", 0, "empty"},
		"twice":               {`{"token":"a","token":"b"}`, "", 0, "a key twice"},
		"two values":          {`{"token":"a"}{"token":"b"}`, "", 0, "goes on"},
		"a line break":        {`{"token":"a\nb"}`, "", 0, "odd characters"},
		"a NUL":               {`{"token":"a\u0000b"}`, "", 0, "odd characters"},
		"expires -1":          {`{"token":"a","expires_in":-1}`, "a", time.Minute, ""},
		"expires 0":           {`{"token":"a","expires_in":0}`, "a", time.Minute, ""},
		"expires 1e18":        {`{"token":"a","expires_in":1e18}`, "a", 12 * time.Hour, ""},
		"expires 1e999":       {`{"token":"a","expires_in":1e999}`, "a", 12 * time.Hour, ""},
		"expires -1e999":      {`{"token":"a","expires_in":-1e999}`, "a", time.Minute, ""},
		"expires text":        {`{"token":"a","expires_in":"300"}`, "a", 300 * time.Second, ""},
		"expires text 1.5":    {`{"token":"a","expires_in":"1.5"}`, "", 0, "no whole number"},
		"expires 1.5":         {`{"token":"a","expires_in":1.5}`, "a", time.Minute, ""},
		"expires null":        {`{"token":"a","expires_in":null}`, "a", time.Minute, ""},
		"expires true":        {`{"token":"a","expires_in":true}`, "", 0, "no number"},
		"issued in 1970":      {`{"token":"a","expires_in":300,"issued_at":"1970-01-01T00:00:00Z"}`, "a", 300 * time.Second, ""},
		"issued in 2200":      {`{"token":"a","expires_in":300,"issued_at":"2200-01-01T00:00:00Z"}`, "a", 300 * time.Second, ""},
		"issued in words":     {`{"token":"a","expires_in":300,"issued_at":"yesterday"}`, "a", 300 * time.Second, ""},
		"issued a minute ago": {`{"token":"a","expires_in":300,"issued_at":"2026-11-21T06:59:00.123456789Z"}`, "a", 240*time.Second + 123456789, ""},
		"JWT says earlier":    {fmt.Sprintf(`{"token":%q,"expires_in":3600}`, jwt(fmt.Sprintf(`{"exp":%d}`, now.Add(10*time.Minute).Unix()))), "", 10 * time.Minute, ""},
		"JWT says later":      {fmt.Sprintf(`{"token":%q,"expires_in":300}`, jwt(fmt.Sprintf(`{"exp":%d}`, now.Add(time.Hour).Unix()))), "", 300 * time.Second, ""},
		"JWT in milliseconds": {fmt.Sprintf(`{"token":%q,"expires_in":300}`, jwt(fmt.Sprintf(`{"exp":%d}`, now.UnixMilli()))), "", 300 * time.Second, ""},
		"JWT without exp":     {fmt.Sprintf(`{"token":%q,"expires_in":300}`, jwt(`{}`)), "", 300 * time.Second, ""},
		"JWT of four parts":   {`{"token":"a.b.c.d","expires_in":300}`, "a.b.c.d", 300 * time.Second, ""},
		"JWT with bad base64": {`{"token":"a.!!.c","expires_in":300}`, "a.!!.c", 300 * time.Second, ""},
		"JWT of half a MiB":   {`{"token":"a.` + strings.Repeat("x", 1<<19) + `.c","expires_in":300}`, "", 300 * time.Second, ""},
	} {
		got, err := ParseToken([]byte(tc.body), now)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "CNRY") {
				t.Errorf("%s: error %v, want %q", name, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tc.token != "" && got.Value.Reveal() != tc.token || got.ExpiresAt.Sub(now) != tc.life {
			t.Errorf("%s: token %.20q, life %v, want %v", name, got.Value.Reveal(), got.ExpiresAt.Sub(now), tc.life)
		}
	}
}

func TestAccessClaimIsReadForTheOneRepository(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		token string
		want  []string
		ok    bool
	}{
		"granted":            {jwt(`{"access":[{"type":"repository","name":"b","actions":["push"]},{"type":"repository","name":"a","actions":["pull","push"]}]}`), []string{"pull", "push"}, true},
		"another repository": {jwt(`{"access":[{"type":"repository","name":"a/b","actions":["pull"]}]}`), nil, true},
		"another type":       {jwt(`{"access":[{"type":"registry","name":"a","actions":["*"]}]}`), nil, true},
		"null":               {jwt(`{"access":null}`), nil, true},
		"absent":             {jwt(`{"sub":"x"}`), nil, false},
		"opaque":             {"DockerToken.1234", nil, false},
		"odd entries":        {jwt(`{"access":[1,"a",{"type":"repository","name":"a","actions":["pull",7]}]}`), []string{"pull"}, true},
	} {
		got, ok := granted(tc.token, "a")
		if ok != tc.ok || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func TestScopesAskForNoMoreThanTheGrants(t *testing.T) {
	t.Parallel()
	got := Scopes([]providers.Grant{{Access: providers.Push}, {Repository: "a/b", Access: providers.Pull}, {Repository: "c", Access: providers.Push | providers.Delete}, {Repository: "d"}, {Repository: "e", Access: providers.Delete}})
	want := []string{"repository:a/b:pull", "repository:c:pull,push,delete", "repository:d:pull,push", "repository:e:delete"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func FuzzTokenResponse(f *testing.F) {
	for _, s := range []string{`{"token":"a","expires_in":300}`, `{"access_token":"b","issued_at":"2026-11-21T07:00:00Z"}`, `{}`, `null`, `{"token":"` + jwt(`{"exp":1795254600}`) + `"}`, `{"token":"a","expires_in":"9"}`, "<html>", `{"token":"a","expires_in":-1e999}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseToken(b, now)
		if err != nil {
			if len(err.Error()) > 100 {
				t.Fatalf("long error %v", err)
			}
			return
		}
		if got.Value.IsZero() || got.ExpiresAt.After(got.IssuedAt.Add(maxLife)) || now.Sub(got.IssuedAt).Abs() > 5*time.Minute {
			t.Fatalf("issued %v, expires %v", got.IssuedAt, got.ExpiresAt)
		}
		if strings.ContainsAny(got.Value.Reveal(), "\r\n\x00") {
			t.Fatalf("%q", got.Value.Reveal())
		}
	})
}
