// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"errors"
	"net/http"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// explain words GitLab's refusals; the status and GitLab's own text stay in
// the chain.
func (s *source) explain(h providers.Host, err error) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	e, isOurs := errors.AsType[*providers.Error](err)
	if !ok || !isOurs {
		return err
	}
	say := func(k providers.Kind, hint, text string) error {
		return &providers.Error{Kind: k, Host: h, Hint: hint, RetryAfter: e.RetryAfter, Err: &said{text: text, err: e.Err}}
	}
	text := strings.ToLower(se.Message)
	switch {
	case se.Status == http.StatusUnauthorized && e.Kind != providers.LoginRequired: // the login stands, this it may not do
		return err
	case se.Status == http.StatusUnauthorized && s.plan.kind == byGlab:
		return say(providers.LoginRequired, "run: glab auth login", "GitLab does not accept the token of glab")
	case se.Status == http.StatusUnauthorized && (s.plan.kind == byJob || s.plan.kind == byAmbient):
		return say(providers.LoginRequired, "a job's token ends with the job", "GitLab does not accept the token of this job")
	case se.Status == http.StatusUnauthorized:
		return say(providers.LoginRequired, s.renewal(h), "GitLab does not accept the token: it is wrong, expired, revoked or without a scope for this")
	case se.Status == http.StatusForbidden && strings.Contains(text, "protected"):
		return say(providers.Denied, "ask a maintainer of the project", "the repository's path is protected against pushes")
	case isForbidden(err):
		return say(providers.Denied, "give the token read_registry or write_registry; a proxy before GitLab must let Authorization through", "GitLab gives this token nothing in its registry")
	case se.Status == http.StatusForbidden && (strings.Contains(text, "scope") || strings.Contains(strings.ToLower(se.Code), "scope")):
		return say(providers.Denied, "make a token with the scope api", "the token's scopes are too small for this")
	case se.Status == http.StatusForbidden && se.Message == "" && strings.Contains(se.URL, realmPath):
		return say(providers.Denied, "wait an hour, or ask an administrator", "GitLab refuses without a word: after many failed logins it keeps an address out for an hour")
	case se.Status == http.StatusNotFound && (se.Code == "UNAVAILABLE" || strings.Contains(text, "registry not enabled")):
		return say(providers.Misconfigured, "ask an administrator of GitLab", "the container registry is not enabled there")
	}
	return err
}

// renewal is where a token that works goes: a login writes into the keychain
// alone.
func (s *source) renewal(h providers.Host) string {
	if ref := s.account.Password; !ref.IsZero() && ref.Scheme != "keyring" {
		return "put a new token into " + ref.String()
	}
	return "run: regmint login " + h.String()
}

// isForbidden is a token endpoint that knows who it is and has nothing for them.
func isForbidden(err error) bool {
	se, ok := errors.AsType[*httpx.StatusError](err)
	return ok && se.Status == http.StatusForbidden && strings.Contains(strings.ToLower(se.Message), "access forbidden")
}

// said is GitLab's answer in our words.
type said struct {
	text string
	err  error
}

func (e *said) Error() string { return e.text }

func (e *said) Unwrap() error { return e.err }
