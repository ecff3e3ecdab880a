// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"net/netip"
	"slices"
	"strings"
)

// Host is a registry address in normal form: lower case, no scheme, no
// trailing dot, no :443; Docker Hub is "docker.io" under all its aliases.
// The zero value is no host. Hosts are comparable.
type Host struct{ s string }

// DockerHub is the one form of Docker Hub.
var DockerHub = Host{"docker.io"}

// hubKey is the key docker, ggcr, oras and BuildKit use for Docker Hub.
const hubKey = "https://index.docker.io/v1/"

// hubAliases are the names of Docker Hub's registry on the default port.
var hubAliases = []string{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

// The limits of RFC 1035 §2.3.4, and of a repository in a reference.
const (
	maxHost       = 253
	maxLabel      = 63
	maxRepository = 255
)

// ParseHost normalises HOST[:PORT]; it refuses anything else (scheme, path,
// userinfo, control bytes, non-ASCII, odd IP spellings). Errors are *Error of
// kind Misconfigured; they show foreign text escaped and never a password.
func ParseHost(s string) (Host, error) {
	if err := checkBytes(s); err != nil {
		return Host{}, err
	}
	if strings.Contains(s, "://") {
		return Host{}, badAddress(s, "a host has no scheme")
	}
	if strings.Contains(s, "/") {
		return Host{}, badAddress(s, "a host has no path")
	}
	return parseHost(s, s)
}

// parseHost normalises s, which passed checkBytes; whole is what the caller
// was given, for the error.
func parseHost(s, whole string) (Host, error) {
	name, port, reason := splitPort(s)
	if reason == "" {
		name, reason = normalName(name)
	}
	if reason != "" {
		return Host{}, badAddress(whole, reason)
	}
	if port == "" && slices.Contains(hubAliases, name) {
		return DockerHub, nil
	}
	return Host{joinPort(name, port)}, nil
}

// joinPort is the inverse of splitPort.
func joinPort(name, port string) string {
	if port == "" {
		return name
	}
	return name + ":" + port
}

// splitPort cuts the port off and drops the default one. reason says what is
// wrong, "" for nothing. The name keeps its brackets.
func splitPort(s string) (name, port, reason string) {
	end := strings.IndexByte(s, ']') + 1
	if strings.HasPrefix(s, "[") && end == 0 {
		return "", "", "a bracket is not closed"
	}
	if !strings.HasPrefix(s, "[") {
		end = strings.IndexByte(s+":", ':')
	}
	name, port = s[:end], s[end:]
	switch {
	case port == "":
		return name, "", ""
	case port[0] != ':':
		return "", "", "text after the brackets"
	case strings.Contains(port[1:], ":"):
		return "", "", "an IPv6 address needs brackets"
	}
	if port = port[1:]; !validPort(port) {
		return "", "", "a port is a number from 1 to 65535"
	}
	if port == "443" {
		port = ""
	}
	return name, port, ""
}

func validPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

// normalName lower-cases a name, drops one trailing dot and checks it.
func normalName(s string) (name, reason string) {
	if strings.HasPrefix(s, "[") {
		a, err := netip.ParseAddr(strings.Trim(s, "[]"))
		switch {
		case err != nil || !a.Is6() || a.Zone() != "":
			return "", "not an IPv6 address in the brackets"
		case a.Is4In6():
			return "", "an IPv4 address is written as four numbers"
		}
		return "[" + a.String() + "]", ""
	}
	name = strings.TrimSuffix(strings.ToLower(s), ".")
	if name == "" {
		return "", "the host is empty"
	}
	if len(name) > maxHost {
		return "", "the host is longer than 253 bytes"
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if reason := checkLabel(l); reason != "" {
			return "", reason
		}
	}
	if isNumber(labels[len(labels)-1]) {
		if a, err := netip.ParseAddr(name); err != nil || !a.Is4() {
			return "", "an IPv4 address is written as four numbers"
		}
	}
	return name, ""
}

// checkLabel follows RFC 1123 §2.1, plus the underscore that private DNS zones
// and container networks use.
func checkLabel(l string) string {
	switch {
	case l == "":
		return "the host has an empty label"
	case len(l) > maxLabel:
		return "a label of the host is longer than 63 bytes"
	case l[0] == '-' || l[len(l)-1] == '-':
		return "a label of the host starts or ends with '-'"
	}
	for i := range len(l) {
		c := l[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "the host has a character that no host name has"
		}
	}
	return ""
}

// isNumber reports a label that resolvers of the C library take for a part of
// an IPv4 address (decimal, octal or 0x hexadecimal).
func isNumber(l string) bool {
	if hex, ok := strings.CutPrefix(l, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(l, "0123456789") == ""
}

// String is the normal form: "ghcr.io", "reg.example.com:5000", "[::1]:5000".
func (h Host) String() string { return h.s }

// IsZero reports the zero value.
func (h Host) IsZero() bool { return h.s == "" }

// Name is the host without port and brackets.
func (h Host) Name() string {
	name, _, _ := splitPort(h.s)
	return strings.Trim(name, "[]")
}

// Port is "" for the default port.
func (h Host) Port() string {
	_, port, _ := splitPort(h.s)
	return port
}

// IsLoopback reports localhost, *.localhost, 127.0.0.0/8 and ::1.
func (h Host) IsLoopback() bool {
	name := h.Name()
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.IsLoopback()
}

// Addr is the address of a host that is written as one.
func (h Host) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(h.Name())
	return a, err == nil
}

// Labels are the labels of the name; nil for an IP address and for no host.
func (h Host) Labels() []string {
	if _, isIP := h.Addr(); isIP || h.IsZero() {
		return nil
	}
	return strings.Split(h.Name(), ".")
}

// Under returns the labels to the left of domain, a name in normal form. It
// reports false for the domain itself, for another port than the default, for
// an IP address, and for a name that only ends in the same letters:
// "xazurecr.io" is not under "azurecr.io".
func (h Host) Under(domain string) ([]string, bool) {
	want, have := strings.Split(domain, "."), h.Labels()
	n := len(have) - len(want)
	if h.Port() != "" || n < 1 || !slices.Equal(have[n:], want) {
		return nil, false
	}
	return have[:n], true
}

// DockerKey is the key docker writes for the host: "https://index.docker.io/v1/"
// for Docker Hub, else the host.
func (h Host) DockerKey() string {
	if h == DockerHub {
		return hubKey
	}
	return h.s
}

// MarshalText implements encoding.TextMarshaler.
func (h Host) MarshalText() ([]byte, error) { return []byte(h.s), nil }

// UnmarshalText implements encoding.TextUnmarshaler; "" is the zero value.
func (h *Host) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*h = Host{}
		return nil
	}
	*h, err = ParseHost(string(b))
	return err
}
