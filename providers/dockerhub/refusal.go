// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// maxRetryAfter bounds how long a limit of the API is believed.
const maxRetryAfter = time.Hour

// limited reads a 429: X-Retry-After and X-RateLimit-Reset are times, by the
// server's clock, not durations.
func (s *source) limited(what string, res *httpx.Response, e *providers.Error) error {
	out := *e
	out.Kind = providers.Unavailable
	out.Err = errors.New(what + " allows no more requests for now (HTTP 429)")
	now := s.deps.Now()
	theirs := serverTime(res.Header, now)
	for _, k := range []string{"X-Retry-After", "X-Ratelimit-Reset", "Retry-After"} {
		n, err := strconv.ParseInt(strings.TrimSpace(res.Header.Get(k)), 10, 64)
		if err != nil {
			continue
		}
		if at, ok := moment(n, theirs); ok {
			wait := at.Sub(theirs)
			out.RetryAfter, out.Hint = min(wait, maxRetryAfter), "not before "+now.Add(wait).UTC().Format(time.RFC3339)
			return &out
		}
	}
	if out.RetryAfter > 0 {
		out.Hint = "not before " + now.Add(out.RetryAfter).UTC().Format(time.RFC3339)
	}
	return &out
}

// said is the upstream's reason without the address of a known endpoint.
func (s *source) said(what string, err error) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	if !ok {
		return err
	}
	text := fmt.Sprintf("%s refused (HTTP %d)", what, se.Status)
	for _, t := range []string{se.Message, se.Code} {
		if t != "" {
			return errors.New(text + ": " + t)
		}
	}
	return errors.New(text)
}

// refusedAPI words what Docker Hub's API answers.
func (s *source) refusedAPI(res *httpx.Response, err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || res == nil {
		return err
	}
	out := *e
	switch res.Status {
	case http.StatusTooManyRequests:
		return s.limited("the API of Docker Hub", res, e)
	case http.StatusUnauthorized:
		out.Err, out.Hint = s.said("the API of Docker Hub", err), s.loginHint(err, e.Host)
	case http.StatusForbidden:
		if isPATRefusal(err) {
			return s.patRefused(e.Host)
		}
		out.Err = s.said("the API of Docker Hub", err)
	default:
		return err
	}
	return &out
}

// isPATRefusal: the texts of 2020 and 2022 end alike (docker/hub-feedback #2006,
// #2127).
func isPATRefusal(err error) bool {
	se, ok := errors.AsType[*httpx.StatusError](err)
	return ok && strings.Contains(strings.ToLower(se.Message), "personal access token")
}

// loginHint says what to do about a refused login. An organisation that enforces
// single sign-on takes no passwords; what Docker Hub says of it is not
// documented, so both reasons are named where its words leave it open.
func (s *source) loginHint(err error, h providers.Host) string {
	again := "run: regmint login " + h.String()
	if s.plan.kind != byPassword {
		return again
	}
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && namesSSO(se.Message) {
		return "SSO takes access tokens alone; or " + again
	}
	return again
}

func namesSSO(text string) bool {
	text = strings.ToLower(text)
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	return slices.Contains(words, "sso") || strings.Contains(text, "single sign")
}

// explain words the token server's refusal of c.
func (s *source) explain(err error, c providers.Credential) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != providers.LoginRequired {
		return err
	}
	se, ok := errors.AsType[*httpx.StatusError](err)
	if !ok || se.Status != http.StatusUnauthorized {
		return err
	}
	out := *e
	again := "run: regmint login " + e.Host.String()
	who := httpx.Printable(c.Username, 60)
	switch {
	case s.plan.kind == byOIDC:
		out.Hint = "see whether the connection is of the organisation, in Docker Home"
		out.Err = fmt.Errorf("the connection's token is refused as %s", who)
	case c.Username == registryauth.TokenUser:
		out.Err, out.Hint = errors.New("the identity token is refused"), again
	case sortOf(c.Secret) == personalToken:
		out.Err, out.Hint = fmt.Errorf("the personal access token of %s is refused: expired, revoked or another user's", who), again
	case sortOf(c.Secret) == organisationToken:
		out.Err, out.Hint = fmt.Errorf("the organisation access token of %s is refused: expired, revoked or another organisation's", who), again
	default:
		out.Err = fmt.Errorf("incorrect username or password of %s", who)
		out.Hint = "with 2FA or SSO only access tokens work: " + again
	}
	return &out
}
