// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// wire is the transport under Google's library for one token: every request
// goes the way of all requests of this program (trust, proxy, limits, retries),
// and its failure is kept in the form that people read, which the library's
// errors lose.
type wire struct {
	ctx  context.Context // the library's exchange of keys takes none
	http *httpx.Client
	host providers.Host
	what string

	url  string           // of the last request
	body []byte           // of the last answer
	fail *providers.Error // of the last request
	sent []providers.Secret
}

func (s *source) wire(ctx context.Context, h providers.Host, what string) *wire {
	return &wire{ctx: ctx, http: s.http, host: h, what: what}
}

// context carries the client to the library.
func (w *wire) context() context.Context {
	return context.WithValue(w.ctx, oauth2.HTTPClient, &http.Client{Transport: w})
}

// secretFields are the fields of a token request that nobody else may see.
var secretFields = []string{"assertion", "subject_token", "refresh_token", "client_secret"}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(q *http.Request) (*http.Response, error) {
	var body []byte
	if q.Body != nil {
		b, err := io.ReadAll(q.Body)
		_ = q.Body.Close()
		if err != nil {
			return nil, err
		}
		body = b
	}
	if form, err := url.ParseQuery(string(body)); err == nil {
		for _, k := range secretFields {
			if v := form.Get(k); v != "" {
				w.sent = append(w.sent, providers.NewSecret(v))
			}
		}
	}
	h := q.Header.Clone()
	h.Del("Content-Length")
	res, err := w.do(httpx.Request{Method: q.Method, URL: q.URL.String(), Header: h, Body: body})
	if res == nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(res.Status), StatusCode: res.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: res.Header, Body: io.NopCloser(bytes.NewReader(res.Body)), ContentLength: int64(len(res.Body)), Request: q,
	}, nil
}

// do sends a request that may be sent again.
func (w *wire) do(q httpx.Request) (*httpx.Response, error) {
	q.Host, q.What, q.SameOrigin, q.Replay, q.Unauthorized = w.host, w.what, true, true, providers.LoginRequired
	q.Secrets = append(q.Secrets, w.sent...)
	w.url, w.body, w.fail = q.URL, nil, nil
	res, err := w.http.Do(w.ctx, q)
	if res != nil {
		w.body = res.Body
	}
	if err != nil {
		w.fail, _ = errors.AsType[*providers.Error](err)
		return res, err
	}
	if v, err := httpx.ParseJSON(res.Body); err != nil {
		w.fail = w.unusable(err)
	} else if _, ok := v.(map[string]any); !ok {
		w.fail = w.unusable(errors.New("the answer is no JSON object"))
	}
	return res, nil
}

// unusable is a success that holds no token.
func (w *wire) unusable(err error) *providers.Error {
	at := ""
	if u, perr := url.Parse(w.url); perr == nil {
		at = httpx.Printable(u.Host, 100)
	}
	text := fmt.Sprintf("%s at %s: %s", w.what, at, err)
	if said := httpx.ErrorText(w.body, w.sent...); said != "" {
		text += ": " + said
	}
	return &providers.Error{Kind: providers.Unavailable, Host: w.host, Err: errors.New(text)}
}

// take turns the library's answer into a token. An error that no request
// explains is the library's view of what it was given: local says what that is,
// since the library's own words may repeat it.
func (w *wire) take(t *oauth2.Token, err error, local string) (access, error) {
	switch {
	case w.fail != nil:
		return access{}, w.explain(w.fail)
	case err != nil && w.body == nil:
		if e, ok := errors.AsType[*providers.Error](err); ok {
			return access{}, e
		}
		return access{}, &providers.Error{Kind: providers.Misconfigured, Host: w.host, Err: errors.New(local)}
	case err != nil:
		return access{}, w.unusable(errors.New("the answer is no token"))
	}
	v := t.AccessToken
	if v == "" || httpx.HasBreak(v) {
		return access{}, w.unusable(errors.New("the answer holds no token"))
	}
	a := access{value: providers.NewSecret(v)}
	switch {
	case !t.Expiry.IsZero():
		a.life = max(time.Until(t.Expiry).Round(time.Second), time.Nanosecond) // never "not said"
	case w.saysNoLife():
		a.life = time.Nanosecond
	}
	return a, nil
}

// saysNoLife reports an expires_in of zero or less, which the library takes for
// none at all.
func (w *wire) saysNoLife() bool {
	var out struct {
		ExpiresIn *json.Number `json:"expires_in"`
	}
	if json.Unmarshal(w.body, &out) != nil || out.ExpiresIn == nil {
		return false
	}
	n, err := out.ExpiresIn.Float64()
	return err == nil && n <= 0
}

// said is the answer of a refusal: its status, OAuth 2.0 error code and
// subtype, and Google's text.
type said struct {
	status              int
	code, subtype, text string
}

func (w *wire) said() said {
	out := said{}
	if w.fail == nil {
		return out
	}
	if e, ok := errors.AsType[*httpx.StatusError](w.fail); ok {
		out.status, out.code, out.text = e.Status, e.Code, e.Message
	}
	if v, err := httpx.ParseJSON(w.body); err == nil {
		if m, ok := v.(map[string]any); ok {
			out.subtype, _ = m["error_subtype"].(string)
		}
	}
	return out
}

func (a said) has(parts ...string) bool {
	text := strings.ToLower(a.text)
	for _, p := range parts {
		if strings.Contains(text, strings.ToLower(p)) {
			return true
		}
	}
	return false
}
