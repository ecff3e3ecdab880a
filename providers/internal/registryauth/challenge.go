// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"errors"
	"fmt"
	"strings"
)

// The most of WWW-Authenticate that is read.
const (
	maxChallengeBytes = 8 << 10
	maxChallenges     = 16
	maxParams         = 32
)

// Challenge is one challenge of WWW-Authenticate. Scheme and the parameter
// names are lower case; a scheme with a single opaque value (Negotiate) has no
// parameters.
type Challenge struct {
	Scheme string
	Params map[string]string
}

// IsZero reports the absence of a challenge.
func (c Challenge) IsZero() bool { return c.Scheme == "" }

// Usable returns the first Bearer challenge with a realm, else the first Basic
// one.
func Usable(cs []Challenge) (Challenge, bool) {
	for _, c := range cs {
		if c.Scheme == "bearer" && c.Params["realm"] != "" {
			return c, true
		}
	}
	for _, c := range cs {
		if c.Scheme == "basic" {
			return c, true
		}
	}
	return Challenge{}, false
}

// ParseChallenges reads all values of WWW-Authenticate (RFC 7235 §4.1). What
// cannot be read is skipped and named in the error, beside the challenges that
// could; the error repeats nothing of the values.
func ParseChallenges(values []string) ([]Challenge, error) {
	var out []Challenge
	var errs []error
	size := 0
	for _, v := range values {
		if size += len(v); size > maxChallengeBytes {
			errs = append(errs, errors.New("challenges of more than 8 KiB"))
			break
		}
		p := parser{s: v}
		for {
			c, ok, err := p.challenge()
			if err != nil {
				errs = append(errs, fmt.Errorf("challenge: %w", err))
				break // the next comma may be inside a quote: the rest cannot be trusted
			}
			if !ok {
				break
			}
			if len(out) == maxChallenges {
				return out, errors.Join(append(errs, fmt.Errorf("more than %d challenges", maxChallenges))...)
			}
			out = append(out, c)
		}
	}
	return out, errors.Join(errs...)
}

// parser walks one header value.
type parser struct {
	s string
	i int
}

func (p *parser) skip(chars string) {
	for p.i < len(p.s) && strings.IndexByte(chars, p.s[p.i]) >= 0 {
		p.i++
	}
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func (p *parser) token() string {
	start := p.i
	for p.i < len(p.s) && isTokenByte(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

// challenge reads the next challenge; false at the end of the value.
func (p *parser) challenge() (Challenge, bool, error) {
	p.skip(" \t,")
	if p.i == len(p.s) {
		return Challenge{}, false, nil
	}
	c := Challenge{Scheme: strings.ToLower(p.token())}
	if c.Scheme == "" {
		return Challenge{}, false, errors.New("no scheme")
	}
	if p.i < len(p.s) && strings.IndexByte(" \t,", p.s[p.i]) < 0 {
		return Challenge{}, false, errors.New("stray character after the scheme")
	}
	p.skip(" \t")
	if p.token68() {
		return c, true, nil
	}
	for {
		more, err := p.param(&c)
		if err != nil || !more {
			return c, err == nil, err
		}
	}
}

// token68 skips the single opaque value of schemes like Negotiate.
func (p *parser) token68() bool {
	j := p.i
	for j < len(p.s) && (isTokenByte(p.s[j]) || p.s[j] == '/') {
		j++
	}
	if j == p.i {
		return false
	}
	end := j
	for end < len(p.s) && p.s[end] == '=' {
		end++
	}
	if tail := strings.TrimLeft(p.s[end:], " \t"); tail != "" && tail[0] != ',' {
		return false
	}
	if end == j && strings.IndexByte(p.s[p.i:j], '/') < 0 && !p.lastWord(j) {
		return false
	}
	p.i = end
	return true
}

// lastWord reports that the word up to j stands alone before a comma or the
// end: an opaque value, as a parameter has a "=".
func (p *parser) lastWord(j int) bool {
	tail := strings.TrimLeft(p.s[j:], " \t")
	return tail == "" || tail[0] == ','
}

// param reads one parameter into c; false where the next thing is another
// challenge or the end.
func (p *parser) param(c *Challenge) (bool, error) {
	p.skip(" \t,")
	if p.i == len(p.s) {
		return false, nil
	}
	start := p.i
	name := strings.ToLower(p.token())
	if name == "" {
		return false, errors.New("stray character before a parameter")
	}
	p.skip(" \t")
	if p.i == len(p.s) || p.s[p.i] != '=' {
		p.i = start // a scheme
		return false, nil
	}
	p.i++
	p.skip(" \t")
	value, err := p.value()
	if err != nil {
		return false, err
	}
	if _, twice := c.Params[name]; twice {
		return false, errors.New("a parameter twice")
	}
	if len(c.Params) == maxParams {
		return false, fmt.Errorf("more than %d parameters", maxParams)
	}
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	c.Params[name] = value
	p.skip(" \t")
	if p.i < len(p.s) && p.s[p.i] != ',' {
		return false, errors.New("no comma after a parameter")
	}
	return true, nil
}

// value is a token or a quoted string; control bytes are refused (H45).
func (p *parser) value() (string, error) {
	if p.i == len(p.s) {
		return "", errors.New("a parameter without a value")
	}
	if p.s[p.i] != '"' {
		v := p.token()
		if v == "" {
			return "", errors.New("a parameter without a value")
		}
		return v, nil
	}
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c == '"':
			return b.String(), nil
		case c == '\\' && p.i < len(p.s):
			c = p.s[p.i]
			p.i++
		}
		if c < 0x20 || c == 0x7f {
			return "", errors.New("a control character in a value")
		}
		b.WriteByte(c)
	}
	return "", errors.New("an unterminated quote")
}
