// SPDX-License-Identifier: Apache-2.0

// Package providers is the domain of regmint: hosts, accounts, grants,
// credentials and the contract every registry provider keeps. It depends on
// the standard library alone.
package providers

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Provider is the code that knows one registry product.
type Provider interface {
	// Name is the product's key in the configuration, for example "ecr".
	Name() string
	// Match reports whether h belongs to this product by its name alone. It is
	// pure: no network, no environment. Products without names of their own
	// (generic) always answer false.
	Match(h Host) bool
	// Env lists the caller's variables that select an ambient identity. Never
	// endpoints, proxies or program paths.
	Env() []string
	// Options returns a pointer to a zero options struct with `toml` and `doc`
	// tags. The configuration is decoded strictly into it and handed back as
	// Account.Options; schema and reference are generated from it.
	Options() any
	// Open validates the account's options and returns a Source. No network.
	Open(a Account, d Deps) (Source, error)
}

// Claimer is a Provider whose ambient identity names its own hosts: the
// variables of a CI job say which registry its token is for, under any name.
type Claimer interface {
	// Claims lists those hosts. env holds the caller's values of Env(). It is
	// pure.
	Claims(env map[string]string) []Host
}

// Source is an account opened by its provider.
type Source interface {
	// Key names the credential a request needs: requests with equal keys share
	// one credential.
	Key(r Request) string
	// Mint makes (or looks up) a credential. Errors are *Error; anything else
	// counts as unavailable.
	Mint(ctx context.Context, r Request) (Credential, error)
}

// Verifier is a Source that can ask the registry whether it accepts a
// credential. A refusal is an *Error of kind LoginRequired (401) or Denied
// (403); anything that does not speak about the credential is Unavailable.
type Verifier interface {
	Verify(ctx context.Context, r Request, c Credential) error
}

// Watcher is a Source that names the files its answers depend on. A change of
// one of them drops remembered failures at once.
type Watcher interface {
	Watches() []string
}

// EarlyRefresher is a Source whose short credentials (life up to 10 min) are
// renewed while min(0.9 L, 5 min) is left, since BuildKit keeps an answer for
// 4 min 50 s.
type EarlyRefresher interface {
	RefreshEarly() bool
}

// Revoker is a Source that makes a thing per job. It alone sees Request.Job.
type Revoker interface {
	Revoke(ctx context.Context, r Request, c Credential) error
}

// NativeMinter is a Source that mints for the registry's own API (clean-up).
type NativeMinter interface {
	MintNative(ctx context.Context, r Request) (Native, error)
}

// Native is a credential for a product's own API.
type Native struct {
	Credential
	// Env is how the product's own tools take it, in the order to print:
	// AWS_ACCESS_KEY_ID and its companions. Empty where they have no such way.
	Env []Variable
	// ForJob: made for Request.Job alone, so that a Revoker takes it back at the
	// job's end; not the account's own secret.
	ForJob bool
}

// Variable is one variable of an environment.
type Variable struct {
	Name  string
	Value Secret
}

// Fixed is a Provider whose credentials are the account's own secret as it is:
// no target makes them do less.
type Fixed interface {
	FixedRights() bool
}

// Narrower is a Provider that knows without a mint whether credentials of an
// account can be narrowed to grants. Where they cannot, a job says so when it
// opens.
type Narrower interface {
	CanNarrow(a Account, gs []Grant) bool
}

// Deps is what a provider gets from its surroundings. Every field is set.
type Deps struct {
	// Env holds the caller's values of Provider.Env(), fixed for this Source;
	// for a configured account it is empty.
	Env map[string]string
	// Resolve reads a secret reference: env: from the caller's environment,
	// keyring: from the store, file: and exec: with the agent's rights.
	Resolve func(ctx context.Context, ref SecretRef) (Secret, error)
	// Network holds the proxy and CA settings of the agent.
	Network Network
	// Run runs another program of this machine (az, gcloud, a credential_process)
	// and returns what it wrote to stdout.
	Run func(ctx context.Context, c Command) ([]byte, error)
	// Save replaces the secret that a keyring: reference names; it is durable
	// when Save returns.
	Save func(ctx context.Context, ref SecretRef, s Secret) error
	// Lock takes the user's lock of this name in the state directory: two
	// processes never refresh or rotate one secret at the same time.
	Lock func(ctx context.Context, name string) (unlock func(), err error)
	// Home is the home directory of the user the agent works for; "" = none.
	Home string
	// Log never sees a secret.
	Log *slog.Logger
	// Now is the wall clock.
	Now func() time.Time
}

// Command is a program to run: bounded in time and output, without a shell, in
// a process group of its own, nothing on stdin, cwd /. Errors are *Error and
// hold the first line of its stderr without anything that looks like a secret.
type Command struct {
	// Path is absolute, or a name that is looked up in the PATH of the agent,
	// never in the working directory. A program that is not there is an error
	// that wraps fs.ErrNotExist.
	Path string
	Args []string
	// Env is added to what every such program gets: who and where the user is,
	// locale, proxies, certificates; NAME=value.
	Env []string
	// Limit bounds it in time; 0 = 10 s.
	Limit time.Duration
}

// Network is the agent-wide [network] table; an account's own values win.
type Network struct {
	HTTPSProxy string `toml:"https_proxy" doc:"proxy for every registry and identity endpoint; http://host:port"`
	NoProxy    string `toml:"no_proxy" doc:"comma separated hosts, .suffixes and CIDRs reached without the proxy"`
	CAFile     string `toml:"ca_file" doc:"PEM bundle trusted in addition to the system's"`
}

// Request says what a credential is for.
type Request struct {
	Host Host
	// Grants are sorted and merged; empty means what the account may do,
	// without delete.
	Grants []Grant
	// Job is set for a Revoker only.
	Job string
}

// Grant is an access on a repository; "" means every repository.
type Grant struct {
	Repository string `json:"repository,omitempty"`
	Access     Access `json:"access"`
}

// MergeGrants sorts grants by repository and unites those of one repository.
func MergeGrants(gs []Grant) []Grant {
	out := slices.Clone(gs)
	slices.SortFunc(out, func(a, b Grant) int { return strings.Compare(a.Repository, b.Repository) })
	n := 0
	for _, g := range out {
		if n > 0 && out[n-1].Repository == g.Repository {
			out[n-1].Access |= g.Access
			continue
		}
		out[n] = g
		n++
	}
	return out[:n]
}

// Credential is what a client gets.
type Credential struct {
	Username string
	Secret   Secret
	IssuedAt time.Time
	// ExpiresAt is zero where no expiry is known.
	ExpiresAt time.Time
	// Wider: the product could not narrow the credential to the grants.
	Wider bool
	// Origin says in words where the credential came from, for status.
	Origin string
}

// Life is ExpiresAt-IssuedAt, zero where no expiry is known.
func (c Credential) Life() time.Duration {
	if c.ExpiresAt.IsZero() {
		return 0
	}
	return c.ExpiresAt.Sub(c.IssuedAt)
}
