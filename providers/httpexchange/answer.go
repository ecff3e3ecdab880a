// SPDX-License-Identifier: Apache-2.0

package httpexchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// unit is how an answer tells the end of a credential's life.
type unit int

const (
	none    unit = iota
	seconds      // from now
	date         // RFC 3339 or Unix seconds
	millis       // Unix milliseconds
)

// lifeLimit keeps arithmetic with absurd answers inside time.Duration.
const lifeLimit = 100 * 365 * 24 * time.Hour

// errShape is an answer that is JSON but not what the paths say: the
// configuration does not fit the endpoint.
type errShape struct{ text string }

func (e errShape) Error() string { return e.text }

var errExpired = errors.New("the answer is already expired")

// answer is what is taken from a response.
type answer struct {
	username, password string
	expires            time.Time
}

// read takes the credential out of body. asked is the time before the request
// was sent: a life counts from there, never from later. Errors repeat nothing
// of body.
func (p *plan) read(body []byte, a providers.Account, asked, now time.Time) (answer, error) {
	v, err := httpx.ParseJSON(body)
	if err != nil {
		return answer{}, err
	}
	out := answer{username: a.Username}
	if p.username != nil {
		if out.username, err = p.text(v, "username_path", p.username); err != nil {
			return answer{}, err
		}
	}
	if out.password, err = p.text(v, "password_path", p.password); err != nil {
		return answer{}, err
	}
	if out.expires, err = p.end(v, a, asked); err != nil {
		return answer{}, err
	}
	if !out.expires.After(now) {
		return answer{}, errExpired
	}
	return out, nil
}

func (p *plan) text(v any, key string, at path) (string, error) {
	got, ok := at.find(v)
	if !ok {
		return "", errShape{fmt.Sprintf("the answer has nothing at %s (%s)", key, httpx.Printable(at.String(), 80))}
	}
	s, ok := got.(string)
	switch {
	case !ok:
		return "", errShape{fmt.Sprintf("the answer has no text at %s (%s)", key, httpx.Printable(at.String(), 80))}
	case s == "":
		return "", errShape{fmt.Sprintf("the answer is empty at %s (%s)", key, httpx.Printable(at.String(), 80))}
	case httpx.HasBreak(s):
		return "", errShape{fmt.Sprintf("the answer holds a line break or a NUL byte at %s (%s)", key, httpx.Printable(at.String(), 80))}
	}
	return s, nil
}

// end is when the credential dies. An answer that does not say falls back to
// the account's expires_in.
func (p *plan) end(v any, a providers.Account, asked time.Time) (time.Time, error) {
	got, ok := any(nil), false
	if p.expires != nil {
		got, ok = p.expires.find(v)
	}
	if !ok {
		if a.ExpiresIn > 0 {
			return asked.Add(time.Duration(a.ExpiresIn)), nil
		}
		return time.Time{}, errShape{fmt.Sprintf("the answer has no expiry at %s; set expires_in", httpx.Printable(p.expires.String(), 80))}
	}
	bad := func(want string) error {
		return errShape{fmt.Sprintf("the answer's expiry at %s is %s", httpx.Printable(p.expires.String(), 80), want)}
	}
	if p.unit == date {
		if s, ok := got.(string); ok {
			if t, err := time.Parse(time.RFC3339, s); err == nil {
				return t, nil
			}
		}
	}
	n, err := whole(got)
	if err != nil {
		if p.unit == date {
			return time.Time{}, bad("neither an RFC 3339 time nor whole seconds")
		}
		return time.Time{}, bad("no whole number")
	}
	switch p.unit {
	case seconds:
		return asked.Add(time.Duration(min(max(n, -1), int64(lifeLimit/time.Second))) * time.Second), nil
	case millis:
		return notBeyond(time.UnixMilli(n), asked), nil
	}
	if n >= 1e11 { // seconds reach that in the year 5138, milliseconds did in 1973
		return time.Time{}, bad("in milliseconds: use expires_at_ms_path")
	}
	return notBeyond(time.Unix(n, 0), asked), nil
}

func notBeyond(t, asked time.Time) time.Time {
	if limit := asked.Add(lifeLimit); t.After(limit) {
		return limit
	}
	return t
}

var errWhole = errors.New("no whole number")

// whole reads a JSON number or a text of digits. A number above what fits is
// as good as the largest that does.
func whole(v any) (int64, error) {
	switch n := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
			return i, nil
		}
		f, err := n.Float64()
		switch {
		case err == nil && f >= 1e18, err != nil && f > 0:
			return 1e18, nil
		case err == nil && f <= -1e18, err != nil && f < 0:
			return -1e18, nil
		case err == nil && f == float64(int64(f)): // 3.6e3, 3600.0
			return int64(f), nil
		}
	case string:
		return strconv.ParseInt(n, 10, 64)
	}
	return 0, errWhole
}
