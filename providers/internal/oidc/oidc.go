// SPDX-License-Identifier: Apache-2.0

// Package oidc gets identity tokens of CI systems and clusters. A token is
// fetched anew for every use; nothing is cached.
package oidc

import (
	"context"
	"errors"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// Ref says where an identity token comes from. In TOML: "github", "gitlab",
// "gitlab:NAME", "kubernetes", "env:NAME", "file:/PATH", "exec:/PATH" or
// { exec = ["/PATH", "ARG"] }.
type Ref struct {
	Kind   string // "", "github", "gitlab", "kubernetes", "ref"
	Secret providers.SecretRef
}

// ParseRef reads the string form.
func ParseRef(s string) (Ref, error) { return Ref{}, errors.New("unwritten") }

// IsZero reports an unset reference.
func (r Ref) IsZero() bool { return r.Kind == "" }

// String is the form ParseRef reads.
func (r Ref) String() string { return r.Kind }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Ref) UnmarshalText(b []byte) (err error) { *r, err = ParseRef(string(b)); return err }

// MarshalText implements encoding.TextMarshaler.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// EnvRefs lists the caller's variables the token is made from.
func (r Ref) EnvRefs() []string { return nil }

// Watches lists the files the token is read from.
func (r Ref) Watches() []string { return nil }

// Config describes one identity.
type Config struct {
	Ref      Ref
	Audience string // "" = the issuer's default
	Host     providers.Host
	Account  providers.Account
	Deps     providers.Deps
	HTTP     *httpx.Client
}

// Token fetches an identity token. Errors are *Error. A token that can be read
// as a JWT is refused where it is expired or made for another audience.
func Token(ctx context.Context, c Config) (providers.Secret, error) {
	return providers.Secret{}, errors.New("unwritten")
}
