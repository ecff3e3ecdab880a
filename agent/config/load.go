// SPDX-License-Identifier: Apache-2.0

package config

import (
	"github.com/regmint/regmint/providers"
)

// Paths are the files of the three file layers. An empty path is no layer; a
// file that does not exist is an empty layer, unless Required.
type Paths struct {
	System string // /etc/regmint/config.toml
	User   string // the person's config.toml
	Saved  string // config.d/regmint.toml beside it
	// Required: User was named by hand (--config, REGMINT_CONFIG) and must exist.
	Required bool
}

// LoadOptions is what Load needs.
type LoadOptions struct {
	Paths     Paths
	Providers []providers.Provider
	// Lenient makes unknown keys warnings (a running agent's reload).
	Lenient bool
}

// Load reads all layers. The error is Problems.
func Load(o LoadOptions) (*Config, error) { return nil, Problems{} }

// TextOptions is what LoadText needs.
type TextOptions struct {
	Name      string // file name for messages and Sources
	Text      string
	Providers []providers.Provider
	// Policy is the policy in force; the text can only narrow it.
	Policy  Policy
	Lenient bool
}

// LoadText reads a job's own --config: [[account]], [[mirror]], [network] and
// [policy]. Accounts get LayerJobConfig. The error is Problems.
func LoadText(o TextOptions) (*Config, error) { return nil, Problems{} }

// Apply returns a with the policy applied: what the account leaves open is
// taken from the policy, and a locked key is never wider than the policy says.
// Accounts that Load and LoadText return have it applied already.
func (p Policy) Apply(a providers.Account) (providers.Account, error) { return a, nil }

// SecretRefs lists every secret reference of an account, those in its options
// included.
func SecretRefs(a providers.Account) []providers.SecretRef { return nil }

// EnvNames lists the variables that the accounts name as env: references.
func EnvNames(accounts []providers.Account) []string { return nil }

// RefKey is the key of a reference in Resolver.Resolved and in the wire's
// "resolved" map; exec: arguments are part of it.
func RefKey(r providers.SecretRef) string { return "" }

// Schema is the JSON schema of config.toml with the options of ps.
func Schema(ps []providers.Provider) ([]byte, error) { return nil, nil }

// Reference is the reference of all keys and variables in Markdown.
func Reference(ps []providers.Provider) string { return "" }
