// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"time"
)

// Rotator is a Source whose long-lived secret, the one its account refers to,
// the product can replace by a new one. The frame around it (one rotation at a
// time for all processes of the user, a record of the intent before, the new
// secret durable and read back before it is used) is the agent's.
type Rotator interface {
	// RotationPlan says what a rotation would do, and changes nothing.
	RotationPlan(ctx context.Context, old Secret) (RotationPlan, error)
	// Rotate asks for a new secret in place of old, once: it never sends the
	// request again, since the product may have answered a lost one by killing
	// old, and a second use of old can kill the whole family.
	Rotate(ctx context.Context, old Secret) (Rotated, error)
	// Alive asks whether the product still accepts s, in a way that is harmless
	// where it does not. LoginRequired: it is dead.
	Alive(ctx context.Context, s Secret) error
}

// RotationPlan is what a rotation would do, in words for people.
type RotationPlan struct {
	What      string    // which secret: `personal access token "ci" of jane`
	Dies      string    // what stops working, and when: "the old token, at once, wherever else it is used"
	ExpiresAt time.Time // of the present secret; zero: not known
	Until     time.Time // how long the new one would live; zero: not known
}

// Rotated is the new secret.
type Rotated struct {
	Secret    Secret
	ExpiresAt time.Time // zero: not known
}

// Sweeper is a Revoker whose things have names that follow from Request.Job: it
// deletes what a mint made for the job though its answer was lost.
type Sweeper interface {
	Sweep(ctx context.Context, r Request) error
}

// Sealer is a Revoker whose things have no names, and are taken back with
// themselves alone: a token that revokes itself. So that the agent after a killed
// one can do that, each is written down sealed.
type Sealer interface {
	// Seal is c for the disk, of use to nobody without the account's own secret,
	// which could make another such thing anyway.
	Seal(ctx context.Context, r Request, c Credential) (string, error)
	// Unseal reads what Seal wrote for the same host and job.
	Unseal(ctx context.Context, r Request, sealed string) (Credential, error)
	// Lives is the longest that such a thing lives by itself.
	Lives() time.Duration
}

// Limiter is a Source that can say what is left of the product's rate limit,
// without using any of it.
type Limiter interface {
	RateLimit(ctx context.Context, r Request, c Credential) (RateLimit, error)
}

// RateLimit is one limit: "87 of 100 left, resets 14:00, as acme-bot".
type RateLimit struct {
	Unlimited bool
	Limit     int
	Remaining int
	Window    time.Duration // the length of a period; zero: not known
	ResetsAt  time.Time     // zero: not known
	Who       string        // whose limit it is: a user, or an address
}

// NativeChecker is a NativeMinter that knows which rights a clean-up needs and
// says, before it hands a token out, which of them is missing: Denied, with the
// scope named. MintNative calls it by itself; `check` calls it alone.
type NativeChecker interface {
	CheckNative(ctx context.Context, r Request) error
}
