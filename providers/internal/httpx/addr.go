// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// AddrPolicy says which addresses a guarded client may dial besides public
// ones. Link-local and metadata addresses never pass.
type AddrPolicy struct{ Loopback, Private bool }

// AddrError is a refusal to dial an address.
type AddrError struct {
	Addr   netip.Addr
	Reason string
}

// Error implements error.
func (e *AddrError) Error() string {
	if !e.Addr.IsValid() {
		return "refused: the name " + e.Reason
	}
	return "refused: the name leads to " + e.Addr.String() + ", which " + e.Reason
}

// Check returns an *AddrError where a must not be dialled.
func (p AddrPolicy) Check(a netip.Addr) error {
	for _, a := range embedded(a) {
		switch class(a) {
		case never:
			return &AddrError{a, "is a link-local or metadata address"}
		case loopback:
			if !p.Loopback {
				return &AddrError{a, "is this machine itself"}
			}
		case private:
			if !p.Private {
				return &AddrError{a, "is a private address"}
			}
		}
	}
	return nil
}

// PolicyLike allows what a peer at a already is: the answer of a loopback
// registry may lead to loopback, that of a private one to private addresses.
func PolicyLike(a netip.Addr) AddrPolicy {
	var p AddrPolicy
	for _, a := range embedded(a) {
		switch class(a) {
		case loopback:
			p.Loopback = true
		case private:
			p.Private = true
		}
	}
	return p
}

type addrClass int

const (
	public addrClass = iota
	loopback
	private
	never
)

// The metadata services outside link-local ranges: AWS and Google over IPv6,
// Alibaba, Azure's wire server, Oracle's older address.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("fd00:ec2::23"),
	netip.MustParseAddr("fd20:ce::254"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("192.0.0.192"),
}

var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // carrier NAT, RFC 6598
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	siteLocal   = netip.MustParsePrefix("fec0::/10")
	nat64       = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour   = netip.MustParsePrefix("2002::/16")
)

func class(a netip.Addr) addrClass {
	switch {
	case !a.IsValid(), slices.Contains(metadata, a), a.IsLinkLocalUnicast(), a.IsMulticast(),
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return never
	case a.IsLoopback(), a.IsUnspecified(), thisNetwork.Contains(a): // 0.0.0.0 dials this machine
		return loopback
	case a.IsPrivate(), sharedSpace.Contains(a), siteLocal.Contains(a):
		return private
	}
	return public
}

// embedded is a without zone, and the IPv4 address it stands for where it is
// an IPv6 one that carries it (mapped, NAT64, 6to4).
func embedded(a netip.Addr) []netip.Addr {
	a = a.WithZone("").Unmap()
	out := []netip.Addr{a}
	b := a.As16()
	switch {
	case a.Is6() && nat64.Contains(a):
		out = append(out, netip.AddrFrom4([4]byte(b[12:16])))
	case a.Is6() && sixToFour.Contains(a):
		out = append(out, netip.AddrFrom4([4]byte(b[2:6])))
	}
	return out
}

// isLocalName reports a name or address of this machine.
func isLocalName(name string) bool {
	if a, err := netip.ParseAddr(name); err == nil {
		return class(a.WithZone("").Unmap()) == loopback
	}
	h, err := providers.ParseHost(name)
	return err == nil && h.IsLoopback()
}

// isMetadataName reports the literal address or the name of a cloud's metadata
// service.
func isMetadataName(name string) bool {
	if a, err := netip.ParseAddr(name); err == nil {
		return class(a.WithZone("").Unmap()) == never
	}
	switch strings.TrimRight(strings.ToLower(name), ".") {
	case "metadata.google.internal", "metadata.goog", "metadata":
		return true
	}
	return false
}

// sameOrigin compares scheme, host and port (RFC 6454).
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		return "443"
	case "http":
		return "80"
	}
	return ""
}
