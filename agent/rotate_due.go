// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/regmint/regmint/providers"
)

const (
	// beforeExpiry is how long before its end a secret is replaced, whatever
	// the schedule says; of a short life the last quarter.
	beforeExpiry = 24 * time.Hour
	// rotateLeast is the least time between two rotations, whatever the
	// schedule and the product's clock say.
	rotateLeast = time.Hour
	// A rotation that failed is tried again after rotateAgain, then after twice
	// as long each time, up to rotateAtMost.
	rotateAgain  = time.Hour
	rotateAtMost = 24 * time.Hour
	// lookEvery is how often the product is asked when a secret ends.
	lookEvery = 24 * time.Hour
)

// due is when the secret is to be replaced.
func (rec *record) due(every time.Duration) time.Time {
	last := rec.Since
	if rec.At.After(last) {
		last = rec.At
	}
	due := last.Add(max(every, rotateLeast))
	if !rec.ExpiresAt.IsZero() {
		left := max(rec.ExpiresAt.Sub(last), 0)
		if end := last.Add(left - min(beforeExpiry, left/4)); end.Before(due) {
			due = end
		}
	}
	if least := rec.At.Add(rotateLeast); due.Before(least) {
		due = least
	}
	if rec.Failures > 0 {
		wait := rotateAtMost
		if n := rec.Failures - 1; n < 5 {
			wait = min(rotateAgain<<n, rotateAtMost)
		}
		if again := rec.FailedAt.Add(wait); again.After(due) {
			due = again
		}
	}
	return due
}

// scheduled lists the accounts whose secret is replaced from time to time. A
// schedule begins when it is first seen.
func (c *Core) scheduled() []providers.Account {
	var out []providers.Account
	for _, a := range c.state.Load().cfg.Accounts {
		if a.Rotate == 0 {
			continue
		}
		if _, err := rotateRef(a); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// rotateDue has run replace the secrets whose time has come, one after another.
func (c *Core) rotateDue(ctx context.Context, run func(ctx context.Context, account string) error) {
	for _, a := range c.scheduled() {
		ref, err := rotateRef(a)
		if err != nil {
			continue
		}
		r := &rotation{c: c, account: a, host: hostOf(a), ref: ref}
		rec := r.watched(ctx)
		if ctx.Err() != nil {
			return
		}
		if rec == nil || c.now().Before(rec.due(time.Duration(a.Rotate))) {
			continue
		}
		c.o.Log.Info("a secret is replaced on schedule", "account", a.Name)
		err = run(ctx, a.Name)
		if ctx.Err() != nil {
			return // it goes on without us, and writes down how it ended
		}
		if err != nil {
			c.o.Log.Error("a scheduled rotation failed", "account", a.Name, "err", err.Error())
			if now, _ := r.record(); now != nil && now.Failures == rec.Failures && now.At.Equal(rec.At) {
				r.failed(err) // it never came to the account
			}
			continue
		}
		c.replaced(ref, sourceKey{})
	}
}

// watched is what is known of a secret on a schedule, which begins when it is
// first seen, or when what was known is damaged. nil: it cannot be written down,
// and a rotation that is not would come again and again.
func (r *rotation) watched(ctx context.Context) *record {
	rec, err := r.record()
	changed := err != nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.c.o.Log.Error("what is known of a scheduled rotation cannot be read; the schedule begins anew", "account", r.account.Name, "err", err.Error())
	}
	if err != nil {
		rec = &record{Since: r.c.now().UTC()}
	}
	if rec.restrain(r.c.now().UTC()) {
		changed = true
	}
	if rec.LookedAt.IsZero() || r.c.now().Sub(rec.LookedAt) >= lookEvery {
		rec.LookedAt, changed = r.c.now().UTC(), true
		r.look(ctx, rec)
	}
	if !changed {
		return rec
	}
	if err := r.change(func(now *record, _ time.Time) {
		rec.Schema, rec.Account, rec.Host = now.Schema, now.Account, now.Host
		*now = *rec
	}); err != nil {
		r.c.o.Log.Error("a scheduled rotation has no record", "account", r.account.Name, "err", err.Error())
		return nil
	}
	return rec
}

// lookLimit bounds the question when a secret ends, behind which others wait.
const lookLimit = 15 * time.Second

// look asks the product when the secret ends. Where it does not say, what is
// known stays.
func (r *rotation) look(ctx context.Context, rec *record) {
	if r.c.interrupted(r.ref) {
		return
	}
	full, err := r.c.newRotation(r.account, map[string]string{})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	old, err := full.current(ctx)
	if err != nil || old.IsZero() {
		return
	}
	plan, err := full.plan(ctx, old)
	if err != nil {
		r.c.o.Log.Debug("when a secret ends is not known", "account", r.account.Name, "err", err.Error())
		return
	}
	rec.ExpiresAt = plan.ExpiresAt.UTC()
	if plan.ExpiresAt.IsZero() {
		rec.ExpiresAt = time.Time{}
	}
}
