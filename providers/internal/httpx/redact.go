// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/regmint/regmint/providers"
)

const withheld = "(text withheld: it repeats a secret)"

// window is how many bytes of a secret in a row count as the secret. Shorter
// secrets count as a whole.
const window = 12

// redactor knows the secrets of one request in the encodings an upstream could
// echo them in.
type redactor struct{ forms []string }

func newRedactor(r Request) redactor {
	var red redactor
	for _, s := range r.Secrets {
		red.add(s.Reveal())
	}
	for k, vs := range r.Header {
		switch strings.ToLower(k) {
		case "accept", "content-type", "user-agent":
			continue
		}
		for _, v := range vs {
			red.addHeader(v)
		}
	}
	return red
}

// addHeader adds a header's value, without a leading scheme word, and the
// password inside a Basic value.
func (r *redactor) addHeader(v string) {
	if scheme, rest, ok := strings.Cut(v, " "); ok && len(scheme) < 16 {
		if strings.EqualFold(scheme, "basic") {
			if b, err := base64.StdEncoding.DecodeString(rest); err == nil {
				_, pass, _ := strings.Cut(string(b), ":")
				r.add(pass)
			}
		}
		v = rest
	}
	if len(v) >= 8 {
		r.add(v)
	}
}

func (r *redactor) add(s string) {
	if s == "" {
		return
	}
	b := []byte(s)
	r.forms = append(r.forms, s, url.QueryEscape(s), url.PathEscape(s), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)))
	if j, err := json.Marshal(s); err == nil {
		r.forms = append(r.forms, string(j[1:len(j)-1]))
	}
	// Inside a longer text ("user:secret") the base64 of a secret has one of
	// three alignments; the characters that depend on neighbours are left out.
	for pad := range 3 {
		e := base64.RawStdEncoding.EncodeToString(append(make([]byte, pad), b...))
		if lead := []int{0, 2, 3}[pad]; len(e) > lead+1 {
			e = e[lead : len(e)-1]
			r.forms = append(r.forms, e, strings.NewReplacer("+", "-", "/", "_").Replace(e))
		}
	}
}

// clean is s fit for an error: printable, at most max bytes, withheld as a
// whole where it repeats a part of a secret. Long runs of token characters
// are cut out whoever they belong to.
func (r redactor) clean(s string, max int) string {
	if len(s) > 4*max {
		s = s[:4*max]
	}
	if r.leaks(s) {
		return Printable(withheld, max)
	}
	return Printable(maskRuns(s), max)
}

// url is u without userinfo, query and fragment; of a URL whose path repeats a
// secret only the origin.
func (r redactor) url(u *url.URL) string {
	if s := CleanURL(u); !r.leaks(s) && !r.leaks(u.Path) {
		return s
	}
	return Printable(u.Scheme+"://"+u.Host, 160)
}

func (r redactor) leaks(s string) bool {
	for _, f := range r.forms {
		if len(f) <= window {
			if strings.Contains(s, f) {
				return true
			}
			continue
		}
		for i := 0; i+window <= len(s); i++ {
			if strings.Contains(f, s[i:i+window]) {
				return true
			}
		}
	}
	return false
}

// maskRuns replaces runs of 40 and more characters that tokens are made of; a
// UUID is 36 long and stays.
func maskRuns(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := 0
		for n < len(s) && tokenByte(s[n]) {
			n++
		}
		switch {
		case n >= 40:
			b.WriteString("[…]")
		case n > 0:
			b.WriteString(s[:n])
		default:
			_, n = utf8.DecodeRuneInString(s)
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.+=", c) >= 0
}

// envelope reads the error code and message of the JSON shapes registries and
// token servers use: OCI {"errors":[{code,message}]}, OAuth2 {"error",
// "error_description"}, {"error":{code,message}}, {"code","message"},
// {"detail"}, AWS {"__type","message"}. Anything else yields nothing.
func envelope(b []byte) (code, msg string) {
	var v any
	if json.Unmarshal(b, &v) != nil {
		return "", ""
	}
	m, ok := v.(map[string]any)
	if !ok {
		return "", ""
	}
	if list, ok := m["errors"].([]any); ok && len(list) > 0 {
		if s, ok := list[0].(string); ok {
			return "", s
		}
		if first, ok := list[0].(map[string]any); ok {
			return codeOf(first), messageOf(first)
		}
	}
	if inner, ok := m["error"].(map[string]any); ok {
		return codeOf(inner), messageOf(inner)
	}
	return codeOf(m), messageOf(m)
}

func codeOf(m map[string]any) string {
	for _, k := range []string{"error", "code", "errorCode", "__type", "Code", "status"} {
		if s, ok := m[k].(string); ok {
			return s
		}
	}
	return ""
}

func messageOf(m map[string]any) string {
	for _, k := range []string{"error_description", "message", "Message", "detail", "details", "msg", "errorMessage", "error_message", "status-message"} {
		if s, ok := m[k].(string); ok {
			return s
		}
	}
	return ""
}

// Clean is text of an upstream fit for an error: printable, at most max bytes,
// without anything of secrets.
func Clean(s string, max int, secrets ...providers.Secret) string {
	return newRedactor(Request{Secrets: secrets}).clean(s, max)
}

// ShowURL is u without userinfo, query and fragment, printable; of a URL whose
// path repeats a secret only the origin.
func ShowURL(u *url.URL, secrets ...providers.Secret) string {
	return newRedactor(Request{Secrets: secrets}).url(u)
}

// ErrorText is what an answer without the expected content says of the reason,
// "" if nothing: the message of a recognised error envelope, fit for an error,
// at most 200 bytes. Fields that a success may fill (code, status) are left
// alone.
func ErrorText(body []byte, secrets ...providers.Secret) string {
	_, msg := envelope(body)
	if msg == "" {
		var v struct{ Error any }
		if json.Unmarshal(body, &v) == nil {
			msg, _ = v.Error.(string)
		}
	}
	return Clean(msg, 200, secrets...)
}
