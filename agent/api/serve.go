// SPDX-License-Identifier: Apache-2.0

package api

// requestFields are the fields of a GetRequest.
var requestFields = []string{
	"key", "account", "soft", "env", "pid", "client", "config", "refresh", "native", "version",
}

// ParseGetRequest reads what appendGet writes: the server's side of the flat
// shapes. One object, nothing after it, unknown fields ignored, two fields of
// one name refused. A failure is a *SyntaxError.
func ParseGetRequest(b []byte, r *GetRequest) error {
	return scanFlat(b, requestFields, false, func(s *scanner, name string) (err error) {
		switch name {
		case "key":
			r.Key, err = s.text()
		case "account":
			r.Account, err = s.text()
		case "soft":
			r.Soft, err = s.boolean()
		case "env":
			r.Env, err = s.texts()
		case "pid":
			var n int64
			n, err = s.int64()
			r.PID = int(n)
		case "client":
			r.Client, err = s.text()
		case "config":
			r.Config, err = s.text()
		case "refresh":
			r.Refresh, err = s.boolean()
		case "native":
			r.Native, err = s.boolean()
		case "version":
			r.Version, err = s.text()
		}
		return err
	})
}

// EncodeGetResponse writes r as encoding/json does.
func EncodeGetResponse(r *GetResponse) []byte {
	w := objectWriter{b: make([]byte, 0, 256+len(r.Secret)+len(r.Message))}
	w.name("outcome")
	w.b = AppendJSONString(w.b, r.Outcome)
	w.text("username", r.Username)
	w.text("secret", r.Secret)
	w.text("kind", r.Kind)
	w.text("message", r.Message)
	w.text("account", r.Account)
	w.number("issued_at", r.IssuedAt)
	w.number("expires_at", r.ExpiresAt)
	w.flag("wider", r.Wider)
	w.texts("need_env", r.NeedEnv)
	w.text("behind", r.Behind)
	w.text("version", r.Version)
	w.texts("native_env", r.NativeEnv)
	return append(w.b, '}')
}
