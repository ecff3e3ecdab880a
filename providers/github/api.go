// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oauth"
)

// apiVersion is that of the REST API.
const apiVersion = "2022-11-28"

// call asks the REST API.
func (s *source) call(ctx context.Context, h providers.Host, method, at string, secret providers.Secret, body []byte) (*httpx.Response, error) {
	header := http.Header{
		"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {apiVersion}, "Authorization": {"Bearer " + secret.Reveal()},
	}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	res, err := s.http.Do(ctx, httpx.Request{
		Host: h, What: "GitHub", Method: method, URL: at, Header: header, Body: body, SameOrigin: true, Replay: true, Secrets: []providers.Secret{secret},
	})
	return res, limited(res, err, s.deps.Now())
}

// limitWait is how long GitHub wants to be left alone where it does not say
// (docs: rate limits for the REST API).
const limitWait = time.Minute

// limited words the refusal of too many requests, which comes with 429 or with
// the 403 of missing rights.
func limited(res *httpx.Response, err error, now time.Time) error {
	e, ok := errors.AsType[*providers.Error](err)
	se, is := errors.AsType[*httpx.StatusError](err)
	if !ok || !is || res == nil || res.Status != http.StatusForbidden && res.Status != http.StatusTooManyRequests {
		return err
	}
	if d, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		now = d
	}
	out := *e
	seconds, herr := strconv.ParseInt(res.Header.Get("Retry-After"), 10, 32)
	reset, rerr := strconv.ParseInt(res.Header.Get("X-Ratelimit-Reset"), 10, 64)
	switch {
	case herr == nil:
		out.RetryAfter = max(time.Duration(seconds)*time.Second, 0)
	case res.Header.Get("X-Ratelimit-Remaining") == "0" && rerr == nil:
		out.RetryAfter = min(max(time.Unix(reset, 0).Sub(now), 0), time.Hour)
	case res.Status == http.StatusTooManyRequests || strings.Contains(strings.ToLower(se.Message), "rate limit"):
		out.RetryAfter = max(out.RetryAfter, limitWait)
	default:
		return err
	}
	out.Kind, out.Hint = providers.Unavailable, "it goes on by itself at "+now.Add(out.RetryAfter).Local().Format("15:04:05")
	out.Err = fmt.Errorf("GitHub limits how often it is asked: %w", e.Err)
	return &out
}

// explain adds what a person does about a refusal of GitHub's OAuth endpoints.
func (s *source) explain(h providers.Host, err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	oe, is := errors.AsType[*oauth.Error](err)
	if !ok || !is {
		return err
	}
	out := *e
	switch oe.Code {
	case "device_flow_disabled":
		out.Kind, out.Err, out.Hint = providers.Misconfigured, oe, "enable Device Flow in the application's settings"
	case "Not Found", "incorrect_client_credentials", "unauthorized_client", "invalid_client": // the answer to a client id that nobody has is a bare 404
		out.Kind, out.Hint = providers.Misconfigured, "check client_id"
		out.Err = fmt.Errorf("GitHub knows no application with this client_id (%s)", oe.Code)
	case "incorrect_device_code", "unsupported_grant_type":
		out.Kind, out.Err, out.Hint = providers.LoginRequired, oe, "run: regmint login "+h.String()
	default:
		out.Hint = cmp.Or(out.Hint, "run: regmint login "+h.String())
	}
	return &out
}
