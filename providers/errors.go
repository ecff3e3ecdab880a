// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"errors"
	"time"
)

// Kind sorts failures by what a person or a client does next.
type Kind string

// The kinds of failure.
const (
	NoAccount     Kind = "no_account"     // no account for this host: the client goes anonymous
	LoginRequired Kind = "login_required" // a person must log in again
	Denied        Kind = "denied"         // the identity may not do this
	Misconfigured Kind = "misconfigured"  // the configuration must change
	Unavailable   Kind = "unavailable"    // try again later
)

// Error is every failure that reaches a person. Err must be free of secrets
// and of raw upstream bodies.
type Error struct {
	Kind       Kind
	Host       Host
	Hint       string // what to do next: "run: regmint login ghcr.io"
	RetryAfter time.Duration
	Err        error
}

// Error reads "HOST: reason; hint".
func (e *Error) Error() string {
	s := ""
	if !e.Host.IsZero() {
		s = e.Host.String() + ": "
	}
	if e.Err != nil {
		s += e.Err.Error()
	} else {
		s += string(e.Kind)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err; an error that is no *Error is Unavailable.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Unavailable
}
