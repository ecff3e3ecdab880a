// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestErrorReadsHostReasonHint(t *testing.T) {
	for _, tt := range []struct {
		err  Error
		want string
	}{
		{Error{Kind: LoginRequired, Host: DockerHub, Hint: "run: regmint login docker.io", Err: errors.New("the login has expired")}, "docker.io: the login has expired; run: regmint login docker.io"},
		{Error{Kind: Denied, Host: DockerHub, Err: errors.New("push is not allowed")}, "docker.io: push is not allowed"},
		{Error{Kind: Unavailable, Err: io.EOF}, "EOF"},
		{Error{Kind: Unavailable, Host: DockerHub, RetryAfter: time.Minute}, "docker.io: unavailable"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestKindOfFindsTheErrorInsideOthers(t *testing.T) {
	inner := &Error{Kind: Denied, Err: context.Canceled}
	for _, err := range []error{inner, fmt.Errorf("mint: %w", inner), errors.Join(io.EOF, fmt.Errorf("x: %w", inner))} {
		if KindOf(err) != Denied {
			t.Errorf("%v: %s", err, KindOf(err))
		}
	}
	if !errors.Is(inner, context.Canceled) {
		t.Error("the cause is hidden")
	}
	if KindOf(io.EOF) != Unavailable {
		t.Error("an unknown error may not be remembered")
	}
	outer := &Error{Kind: Unavailable, Err: inner}
	if KindOf(outer) != Unavailable {
		t.Error("the outer kind counts")
	}
}
