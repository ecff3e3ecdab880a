// SPDX-License-Identifier: Apache-2.0

// Package generic hands out a saved user name and secret for any registry
// that speaks the Docker Registry v2 API.
package generic

import (
	"errors"

	"github.com/regmint/regmint/providers"
)

// Options is empty: a generic account needs none but the common keys.
type Options struct{}

// Provider implements providers.Provider.
type Provider struct{}

// New returns the provider.
func New() Provider { return Provider{} }

// Name implements providers.Provider.
func (Provider) Name() string { return "generic" }

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
