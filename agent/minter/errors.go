// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regmint/regmint/providers"
)

const (
	rememberFirm  = 30 * time.Second // denied, misconfigured
	rememberLogin = 3 * time.Second  // login_required
	maxRetryAfter = 60 * time.Second
)

// remember returns how long a failure stands for an answer, and how much of
// that the upstream itself asked for.
func remember(err error) (hold, asked time.Duration) {
	pe, ok := errors.AsType[*providers.Error](err)
	if !ok {
		return 0, 0
	}
	if pe.Kind == providers.NoAccount {
		return 0, 0
	}
	asked = max(0, min(pe.RetryAfter, maxRetryAfter))
	switch pe.Kind {
	case providers.Denied, providers.Misconfigured:
		hold = rememberFirm
	case providers.LoginRequired:
		hold = rememberLogin
	}
	return max(hold, asked), asked
}

// problem makes a *providers.Error with a host of what a Source returned.
func problem(err error, h providers.Host) error {
	pe, ok := errors.AsType[*providers.Error](err)
	switch {
	case ok && pe == nil:
		return unavailable(h, "the provider failed without saying why")
	case !ok:
		return &providers.Error{Kind: providers.Unavailable, Host: h, Err: err}
	case pe.Host.IsZero() && pe.Error() == err.Error(): // nothing is wrapped around it
		c := *pe
		c.Host = h
		return &c
	}
	return err
}

func unavailable(h providers.Host, format string, args ...any) error {
	return &providers.Error{Kind: providers.Unavailable, Host: h, Err: fmt.Errorf(format, args...)}
}

func errExpired(h providers.Host) error {
	return &providers.Error{
		Kind: providers.Unavailable, Host: h,
		Err:  errors.New("the answer is already expired"),
		Hint: "compare this machine's clock with the registry's",
	}
}

func errStopped(h providers.Host) error {
	return unavailable(h, "the agent is stopping; try again")
}

func errLeft(ctx context.Context, h providers.Host) error {
	return unavailable(h, "no credential in time, the request for it goes on: %w", ctx.Err())
}
