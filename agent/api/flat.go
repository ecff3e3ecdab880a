// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strconv"
	"unicode/utf8"
)

// AppendJSONString appends s as a JSON string. Bytes that are no UTF-8 become
// U+FFFD, as in encoding/json; so do < > & and the line separators their
// escapes.
func AppendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
			i++
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
			if r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || n > 1) {
				i += n
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch r {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		default:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += n
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// objectWriter writes a flat object and leaves out zero values.
type objectWriter struct{ b []byte }

func (w *objectWriter) name(n string) {
	sep := byte(',')
	if len(w.b) == 0 {
		sep = '{'
	}
	w.b = append(w.b, sep, '"')
	w.b = append(append(w.b, n...), '"', ':')
}

func (w *objectWriter) text(n, v string) {
	if v != "" {
		w.name(n)
		w.b = AppendJSONString(w.b, v)
	}
}

func (w *objectWriter) flag(n string, v bool) {
	if v {
		w.name(n)
		w.b = append(w.b, "true"...)
	}
}

func (w *objectWriter) number(n string, v int64) {
	if v != 0 {
		w.name(n)
		w.b = strconv.AppendInt(w.b, v, 10)
	}
}

func (w *objectWriter) texts(n string, v []string) {
	if len(v) == 0 {
		return
	}
	w.name(n)
	for i, s := range v {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		w.b = AppendJSONString(append(w.b, sep), s)
	}
	w.b = append(w.b, ']')
}

// appendGet appends r to an empty b, as encoding/json writes it.
func appendGet(b []byte, r *GetRequest) []byte {
	w := objectWriter{b: b}
	w.name("key")
	w.b = AppendJSONString(w.b, r.Key)
	w.text("account", r.Account)
	w.flag("soft", r.Soft)
	w.texts("env", r.Env)
	w.number("pid", int64(r.PID))
	w.text("client", r.Client)
	w.text("config", r.Config)
	w.flag("refresh", r.Refresh)
	w.flag("native", r.Native)
	w.text("version", r.Version)
	return append(w.b, '}')
}

// getFields are the fields of a GetResponse.
var getFields = []string{
	"outcome", "username", "secret", "kind", "message", "account", "issued_at", "expires_at",
	"wider", "need_env", "behind", "version", "native_env",
}

// parseGet reads a GetResponse: one object, nothing after it, unknown fields
// ignored.
func parseGet(b []byte, r *GetResponse) error {
	return scanFlat(b, getFields, false, func(s *scanner, name string) (err error) {
		switch name {
		case "outcome":
			r.Outcome, err = s.text()
		case "username":
			r.Username, err = s.text()
		case "secret":
			r.Secret, err = s.text()
		case "kind":
			r.Kind, err = s.text()
		case "message":
			r.Message, err = s.text()
		case "account":
			r.Account, err = s.text()
		case "issued_at":
			r.IssuedAt, err = s.int64()
		case "expires_at":
			r.ExpiresAt, err = s.int64()
		case "wider":
			r.Wider, err = s.boolean()
		case "need_env":
			r.NeedEnv, err = s.texts()
		case "behind":
			r.Behind, err = s.text()
		case "version":
			r.Version, err = s.text()
		case "native_env":
			r.NativeEnv, err = s.texts()
		}
		return err
	})
}

// dockerFields are the fields of docker-credential-helpers'
// credentials.Credentials.
var dockerFields = []string{"ServerURL", "Username", "Secret"}

// ParseDockerCredential reads what a docker client writes for `store` and what
// a helper answers to `get`. Names match in any case, as docker reads them, but
// two of one name are refused. A failure is a *SyntaxError.
func ParseDockerCredential(b []byte) (l Login, err error) {
	err = scanFlat(b, dockerFields, true, func(s *scanner, name string) (err error) {
		switch name {
		case "ServerURL":
			l.ServerURL, err = s.text()
		case "Username":
			l.Username, err = s.text()
		case "Secret":
			l.Secret, err = s.text()
		}
		return err
	})
	return l, err
}

// AppendDockerCredential writes l as docker-credential-helpers does.
func AppendDockerCredential(b []byte, l Login) []byte {
	b = AppendJSONString(append(b, `{"ServerURL":`...), l.ServerURL)
	b = AppendJSONString(append(b, `,"Username":`...), l.Username)
	b = AppendJSONString(append(b, `,"Secret":`...), l.Secret)
	return append(b, "}\n"...)
}
