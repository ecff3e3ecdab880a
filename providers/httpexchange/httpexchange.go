// SPDX-License-Identifier: Apache-2.0

// Package httpexchange mints with one HTTP request to an exchange endpoint that
// the configuration describes: a secret or an identity token in, a registry
// credential out.
package httpexchange

import (
	"errors"

	"github.com/regmint/regmint/providers"
)

// Options are the keys of an http-exchange account.
type Options struct{}

// Provider implements providers.Provider.
type Provider struct{}

// New returns the provider.
func New() Provider { return Provider{} }

// Name implements providers.Provider.
func (Provider) Name() string { return "http-exchange" }

// Match implements providers.Provider: nothing by name alone.
func (Provider) Match(providers.Host) bool { return false }

// Env implements providers.Provider: no ambient identity.
func (Provider) Env() []string { return nil }

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// Open implements providers.Provider.
func (Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	return nil, errors.New("unwritten")
}
