// SPDX-License-Identifier: Apache-2.0

// Package registryauth speaks the registry's side of authentication: the
// challenge of GET /v2/, the rule which realm may see a credential, the token
// exchange, and the question whether a registry accepts a credential.
package registryauth

import (
	"context"
	"errors"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// TokenUser is the user name docker stores beside an identity (refresh) token.
const TokenUser = "<token>"

// Config describes one registry as an account sees it.
type Config struct {
	HTTP *httpx.Client
	Host providers.Host
	// Account gives plain_http and realm_hosts.
	Account providers.Account
	// Realms are further hosts the provider knows as token servers of Host.
	Realms []providers.Host
	Now    func() time.Time
}

// Verify asks the registry whether it accepts c and, for grants that name a
// repository, whether c has their access. Errors are *Error: LoginRequired
// (401), Denied (403 or less access than asked), Misconfigured (no registry
// v2 API, realm not trusted), Unavailable (everything that does not speak
// about the credential).
func Verify(ctx context.Context, cfg Config, c providers.Credential, grants []providers.Grant) error {
	return errors.New("unwritten")
}

// Scopes renders grants as docker scopes, "repository:acme/app:pull,push",
// one for each grant that names a repository.
func Scopes(grants []providers.Grant) []string { return nil }

// Challenge is one challenge of WWW-Authenticate. Scheme and the parameter
// names are lower case.
type Challenge struct {
	Scheme string
	Params map[string]string
}

// ParseChallenges reads all values of WWW-Authenticate.
func ParseChallenges(values []string) ([]Challenge, error) { return nil, errors.New("unwritten") }

// Token is an answer of a token server.
type Token struct {
	Value     providers.Secret
	Refresh   providers.Secret // zero unless the server gave one
	IssuedAt  time.Time
	ExpiresAt time.Time // at least 60 s, at most 12 h after IssuedAt unless the JWT says earlier
}

// RealmError is the cause of a Misconfigured *Error where a challenge sends
// the credential to a host nobody trusts; login may ask the user and add the
// host to realm_hosts.
type RealmError struct {
	Realm  string         // printable, without userinfo and query
	Host   providers.Host // zero where the realm is no acceptable URL at all
	Reason string
}

// Error implements error.
func (e *RealmError) Error() string { return e.Reason }
