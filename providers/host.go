// SPDX-License-Identifier: Apache-2.0

package providers

import "errors"

// Host is a registry address in normal form: lower case, no scheme, no
// trailing dot, no :443; Docker Hub is "docker.io" under all its aliases.
// The zero value is no host. Hosts are comparable.
type Host struct{ s string }

// DockerHub is the one form of Docker Hub.
var DockerHub = Host{"docker.io"}

// ParseHost normalises HOST[:PORT]; it refuses anything else (scheme, path,
// userinfo, control bytes, non-ASCII, odd IP spellings).
func ParseHost(s string) (Host, error) { return Host{}, errors.New("unwritten") }

// String is the normal form: "ghcr.io", "reg.example.com:5000", "[::1]:5000".
func (h Host) String() string { return h.s }

// IsZero reports the zero value.
func (h Host) IsZero() bool { return h.s == "" }

// Name is the host without port and brackets.
func (h Host) Name() string { return h.s }

// Port is "" for the default port.
func (h Host) Port() string { return "" }

// IsLoopback reports localhost, *.localhost, 127.0.0.0/8 and ::1.
func (h Host) IsLoopback() bool { return false }

// Key is a server URL as a client asks for it, understood.
type Key struct {
	Host       Host
	Repository string // "" where the client named the host alone
	// Item is "access-token" or "refresh-token" for the two extra items that
	// docker login's web flow stores under the Hub's URL, else "".
	Item string
}

// ParseKey reads every form clients send: H, H:PORT, H/REPO, http(s)://H[/v1/|/v2/|/REPO],
// all Docker Hub aliases.
func ParseKey(raw string) (Key, error) { return Key{}, errors.New("unwritten") }

// Pattern is one entry of an account's hosts: a host whose labels may be "*",
// with an optional path of whole segments.
type Pattern struct{ host, path string }

// ParsePattern reads "ghcr.io", "*.dkr.ecr.*.amazonaws.com", "ghcr.io/acme".
func ParsePattern(s string) (Pattern, error) { return Pattern{}, errors.New("unwritten") }

// Exact returns the host of a pattern without wildcards.
func (p Pattern) Exact() (Host, bool) { return Host{}, false }

// Path is the namespace, "" for the whole host.
func (p Pattern) Path() string { return p.path }

// String is the normal form.
func (p Pattern) String() string { return p.host }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pattern) UnmarshalText(b []byte) (err error) { *p, err = ParsePattern(string(b)); return err }

// MarshalText implements encoding.TextMarshaler.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Target is HOST[/REPO][=ACCESS].
type Target struct {
	Host       Host
	Repository string
	Access     Access // 0: as the account is
}

// ParseTarget reads a target.
func ParseTarget(s string) (Target, error) { return Target{}, errors.New("unwritten") }

// String is the form ParseTarget reads.
func (t Target) String() string { return "" }

// Selector answers which account owns a key. It is immutable and safe for
// concurrent use; cost does not grow with the number of exact accounts.
type Selector struct{}

// NewSelector indexes accounts. Two defaults for equal patterns of one layer,
// and two accounts of one name in one layer, are errors naming both Sources.
func NewSelector(accounts []Account) (*Selector, error) { return nil, errors.New("unwritten") }

// Select returns the account for host and repository ("" = host alone). pick
// names an account ("" = by rule). Job logins win for their host; then longest
// path, exact over wildcard, lower Layer, default=true. A host-only key may be
// answered by a path account where no account owns the whole host. Errors are
// *Error of kind NoAccount or Misconfigured (several, none default: lists the names).
func (s *Selector) Select(h Host, repository, pick string) (Account, error) {
	return Account{}, errors.New("unwritten")
}
