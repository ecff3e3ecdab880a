// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"errors"
	"time"
)

// Loginer is a Provider with a login of its own besides user and password: a
// device code, a single sign-on, a choice between identities on this machine.
// It runs in the person's terminal, in `regmint login`.
type Loginer interface {
	Login(ctx context.Context, q LoginRequest) (LoginResult, error)
}

// LoginGrouper is a Loginer whose accounts may share one login: `regmint login`
// without a host makes one trip for all accounts of equal text, for example
// `AWS SSO session "corp"`. "" stands for the account alone. It is pure.
type LoginGrouper interface {
	LoginGroup(a Account) string
}

// MintedUser is a Provider whose credentials always carry a user name of the
// product's own making (AWS, the null GUID, oauth2accesstoken). What a client
// stores under such a name is the product's own short-lived token, fetched by
// another tool (DESIGN rule 4): it is not kept where regmint minted for that
// host lately, and otherwise kept until it expires.
type MintedUser interface {
	// MintedUser says whether user is such a name on h, and how long secret,
	// stored now, will live: from the secret itself where it tells, else the
	// product's usual life. A name under which people keep long-lived secrets
	// (_json_key) is none: that is a login like any other. It is pure.
	MintedUser(h Host, user string, secret Secret, now time.Time) (life time.Duration, ok bool)
}

// LoginKeeper is a Provider whose accounts may be a user name with a secret that
// a person got from the product: a login saved for a host of its own is an
// account of this provider, whoever saves it.
type LoginKeeper interface {
	// KeepsLogin reports whether a login of user with secret at h is one of this
	// provider's. The error, an *Error, refuses it: by the host's name and the
	// form of the secret alone it is certain that the registry takes none like
	// it. It is pure.
	KeepsLogin(h Host, user string, secret Secret) (ok bool, err error)
	// NeedsUser reports that the secret alone does not say who it is.
	NeedsUser() bool
	// LoginOptions are the options of a new login at a host that like, an
	// account of this provider, names too: of like's, where the product is.
	LoginOptions(like Account) any
}

// Learner is a Source that hands its account's saved secret out unseen, without
// a question to anybody, and learns from Verify what the product says about it.
type Learner interface {
	// Learned is what is known about c by now, without a question; ok is false
	// where c is no saved secret that Verify looks into. Where there is more
	// than c says, Mint says it as well.
	Learned(c Credential) (l Learned, ok bool)
}

// Learned is what a product says about a saved secret.
type Learned struct {
	User      string    // whose it is; "": not known
	ExpiresAt time.Time // zero: not known, or never
}

// Ender is a Provider that knows what a login of its own has left at the product
// and can end it there.
type Ender interface {
	// EndLogin ends what regmint's own login made at the product: secret is what
	// was saved, which is removed already. It does its best within ctx.
	EndLogin(ctx context.Context, q EndRequest) Ended
}

// EndRequest is a login that was removed from this machine.
type EndRequest struct {
	Host    Host
	Account Account
	Secret  Secret // zero: none was kept, or it could not be read
	Deps    Deps
}

// Ended says in words for people what became of a login at the product. Both
// may be "": nothing of it was there.
type Ended struct {
	What string // what was ended: "the login at GitLab"
	Left string // what lives on, and where it is ended
}

// LoginRequest is what `regmint login HOST` knows.
type LoginRequest struct {
	Host Host
	// Account is the account to log in: a configured or saved one, or a new one
	// with Provider, Hosts and zero Options.
	Account Account
	// Deps.Env holds the caller's values of Provider.Env(), whatever the layer
	// of the account.
	Deps Deps
	UI   LoginUI
}

// LoginUI is the person at the terminal. Where nobody is there, Choose, Ask,
// Secret and Device answer ErrNobody.
type LoginUI interface {
	// Say shows one line.
	Say(format string, args ...any)
	// Choose asks which of several; one choice alone is taken without a
	// question. It returns the index.
	Choose(ctx context.Context, question string, choices []string) (int, error)
	// Ask asks for a line that may be seen, such as a user name. It is asked
	// again until there is one.
	Ask(ctx context.Context, question string) (string, error)
	// Secret asks for a line without showing it.
	Secret(ctx context.Context, question string) (Secret, error)
	// Device shows where to enter which code, and opens a browser where there is
	// one. It returns at once; the caller polls.
	Device(ctx context.Context, d Device) error
}

// ErrNobody is the answer of a LoginUI without a terminal.
var ErrNobody = errors.New("nobody is at a terminal to answer")

// Device is a device authorization (RFC 8628 section 3.2).
type Device struct {
	For       string // what is logged in to: `AWS SSO session "corp"`
	URL       string // verification_uri
	Complete  string // verification_uri_complete, "" where there is none
	Code      string // user_code
	ExpiresAt time.Time
}

// LoginResult is a login that succeeded.
type LoginResult struct {
	// Account is the block to write, shown before; Write false: what is
	// configured, or recognised without configuration, is enough. Its Password
	// is set by the command line where Secret is.
	Account Account
	Write   bool
	// Secret is kept in the store as the account's password, and in Account's
	// options under the one SecretRef that is keyring: where Password is not the
	// place; zero: there is nothing to keep.
	Secret Secret
	// Who says as whom, for people: "arn:aws:sts::…:assumed-role/dev/jane".
	Who string
	// Until is when a person has to log in again; zero: not known.
	Until time.Time
}
