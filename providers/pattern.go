// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"net/netip"
	"strings"
)

// Pattern is one entry of an account's hosts: a host whose labels may be "*",
// with an optional path of whole segments. A "*" stands for exactly one whole
// label; the port must be equal. The zero value matches nothing.
type Pattern struct{ host, path string }

// ParsePattern reads "ghcr.io", "*.dkr.ecr.*.amazonaws.com", "ghcr.io/acme".
// Errors are as those of ParseHost.
func ParsePattern(s string) (Pattern, error) {
	if err := checkBytes(s); err != nil {
		return Pattern{}, err
	}
	if strings.Contains(s, "://") {
		return Pattern{}, badAddress(s, "an entry of hosts has no scheme")
	}
	name, path, _ := strings.Cut(s, "/")
	host, err := patternHost(name, s)
	if err != nil {
		return Pattern{}, err
	}
	if path, _, err = cutSlash(path, s); err != nil {
		return Pattern{}, err
	}
	if path != "" {
		if err := parsePath(path, s); err != nil {
			return Pattern{}, err
		}
	}
	return Pattern{host: host, path: path}, nil
}

// patternHost normalises the host of a pattern.
func patternHost(name, whole string) (string, error) {
	if !strings.Contains(name, "*") {
		h, err := parseHost(name, whole)
		return h.s, err
	}
	name, port, reason := splitPort(name)
	if reason != "" {
		return "", badAddress(whole, reason)
	}
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, l := range labels {
		if l != "*" && strings.Contains(l, "*") {
			return "", badAddress(whole, "* stands for one whole label")
		}
	}
	if labels[len(labels)-1] == "*" {
		// It would hand the credential to every domain there is.
		return "", badAddress(whole, "the last label cannot be *")
	}
	// With a letter in its place, a wildcard is a host like any other.
	plain, reason := normalName(strings.ReplaceAll(name, "*", "x"))
	if reason != "" {
		return "", badAddress(whole, reason)
	}
	out := strings.Split(plain, ".")
	for i, l := range labels {
		if l == "*" {
			out[i] = "*"
		}
	}
	return joinPort(strings.Join(out, "."), port), nil
}

// Exact returns the host of a pattern without wildcards.
func (p Pattern) Exact() (Host, bool) {
	if p.host == "" || p.wildcards() > 0 {
		return Host{}, false
	}
	return Host{p.host}, true
}

// Path is the namespace, "" for the whole host.
func (p Pattern) Path() string { return p.path }

// IsZero reports the zero value.
func (p Pattern) IsZero() bool { return p.host == "" }

// String is the normal form.
func (p Pattern) String() string {
	if p.path == "" {
		return p.host
	}
	return p.host + "/" + p.path
}

// MatchHost reports whether p speaks about h or a part of it.
func (p Pattern) MatchHost(h Host) bool {
	if p.host == "" || h.IsZero() {
		return false
	}
	if p.wildcards() == 0 {
		return p.host == h.s
	}
	pn, pp, _ := strings.Cut(p.host, ":")
	hn, hp, _ := strings.Cut(h.s, ":")
	want, have := strings.Split(pn, "."), strings.Split(hn, ".")
	if pp != hp || len(want) != len(have) || strings.HasPrefix(h.s, "[") {
		return false
	}
	for i, l := range want {
		if l != "*" && l != have[i] {
			return false
		}
	}
	_, err := netip.ParseAddr(hn)
	return err != nil
}

// Matches reports whether p owns the repository of h: its path is equal to the
// repository or a parent of it by whole segments.
func (p Pattern) Matches(h Host, repository string) bool {
	if !p.MatchHost(h) {
		return false
	}
	rest, ok := strings.CutPrefix(repository, p.path)
	return ok && (p.path == "" || rest == "" || rest[0] == '/')
}

func (p Pattern) wildcards() int { return strings.Count(p.host, "*") }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pattern) UnmarshalText(b []byte) (err error) { *p, err = ParsePattern(string(b)); return err }

// MarshalText implements encoding.TextMarshaler.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
