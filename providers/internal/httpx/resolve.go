// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/regmint/regmint/providers"
)

// Resolve reads a secret reference; a failure is an *Error that names the
// reference and what to do, never the secret. A JSON object (a Google service
// account key is used as a password) is put on one line; any other secret with
// CR, LF or NUL is refused: not every client carries it through.
func Resolve(ctx context.Context, d providers.Deps, h providers.Host, ref providers.SecretRef) (providers.Secret, error) {
	s, err := d.Resolve(ctx, ref)
	if err != nil {
		return providers.Secret{}, refError(ctx, h, ref, err)
	}
	if s.IsZero() {
		return providers.Secret{}, refError(ctx, h, ref, errors.New("is empty"))
	}
	if one, ok := oneLine(s.Reveal()); ok {
		return providers.NewSecret(one), nil
	}
	if HasBreak(s.Reveal()) {
		return providers.Secret{}, &providers.Error{
			Kind: providers.Misconfigured, Host: h,
			Err: fmt.Errorf("%s holds a line break or a NUL byte", ref),
		}
	}
	return s, nil
}

// oneLine is a JSON object of several lines without its line ends.
func oneLine(s string) (string, bool) {
	var b bytes.Buffer
	if !HasBreak(s) || !strings.HasPrefix(strings.TrimSpace(s), "{") || json.Compact(&b, []byte(s)) != nil {
		return "", false
	}
	return b.String(), true
}

// HasBreak reports CR, LF or NUL.
func HasBreak(s string) bool { return strings.ContainsAny(s, "\r\n\x00") }

func refError(ctx context.Context, h providers.Host, ref providers.SecretRef, err error) *providers.Error {
	if e, ok := errors.AsType[*providers.Error](err); ok {
		out := *e
		if out.Host.IsZero() {
			out.Host = h
		}
		if out.Hint == "" && out.Kind == providers.LoginRequired {
			out.Hint = "run: regmint login " + h.String()
		}
		return &out
	}
	if ctx.Err() != nil {
		return &providers.Error{Kind: providers.Unavailable, Host: h, Err: fmt.Errorf("%s: not read in time", ref)}
	}
	out := &providers.Error{Kind: providers.Misconfigured, Host: h, Err: fmt.Errorf("%s: %s", ref, Printable(err.Error(), 200))}
	if ref.Scheme == "keyring" {
		out.Kind, out.Hint = providers.LoginRequired, "run: regmint login "+h.String()
	}
	return out
}
