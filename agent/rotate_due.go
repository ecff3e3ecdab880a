// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

const (
	// beforeExpiry is how long before its end a secret is replaced, whatever
	// the schedule says.
	beforeExpiry = 24 * time.Hour
	// A rotation that failed is tried again after rotateAgain, then after twice
	// as long each time, up to rotateAtMost.
	rotateAgain  = time.Hour
	rotateAtMost = 24 * time.Hour
)

// due is when the secret is to be replaced.
func (rec *record) due(every time.Duration) time.Time {
	last := rec.Since
	if rec.At.After(last) {
		last = rec.At
	}
	due := last.Add(every)
	if end := rec.ExpiresAt.Add(-beforeExpiry); !rec.ExpiresAt.IsZero() && end.After(last) && end.Before(due) {
		due = end
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
		rec, err := r.record()
		if errors.Is(err, fs.ErrNotExist) {
			rec = &record{Schema: 1, Account: a.Name, Host: r.host.String(), Since: c.now().UTC()}
			err = writeRecord(c.recordPath(ref), rec)
		}
		if err != nil {
			c.o.Log.Error("a scheduled rotation has no record", "account", a.Name, "err", err.Error())
			continue
		}
		if ctx.Err() != nil || c.now().Before(rec.due(time.Duration(a.Rotate))) {
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
				r.note(nil, err) // it never came to the account
			}
			continue
		}
		c.replaced(ref, sourceKey{})
	}
}

// rotationStatus is what a person should know of rotations: those on a
// schedule, and those that were interrupted.
func (c *Core) rotationStatus(accounts []providers.Account) []api.RotationStatus {
	var out []api.RotationStatus
	open := len(c.intentsOpen()) > 0
	for _, a := range accounts {
		if a.Rotate == 0 && !open {
			continue
		}
		ref, err := rotateRef(a)
		if a.Rotate == 0 && (err != nil || !c.interrupted(ref)) {
			continue
		}
		st := api.RotationStatus{Account: a.Name, Every: int64(time.Duration(a.Rotate).Seconds()), State: "ok"}
		for _, p := range a.Hosts {
			st.Hosts = append(st.Hosts, p.String())
		}
		if err != nil {
			st.State, st.Message = string(providers.KindOf(err)), message(hostOf(a), err)
			out = append(out, st)
			continue
		}
		if rec, err := c.readLast(ref); err == nil {
			st.LastAt = timeOrNil(rec.At)
			st.ExpiresAt = timeOrNil(rec.ExpiresAt)
			if a.Rotate > 0 {
				st.DueAt = timeOrNil(rec.due(time.Duration(a.Rotate)))
			}
			if rec.Failures > 0 {
				st.State, st.Message = "failed", rec.Error
			}
		}
		if in, err := c.readIntent(ref); err == nil && in != nil {
			st.State = "interrupted"
			if in.Step == stepLost {
				st.State, st.Message = string(providers.LoginRequired), message(hostOf(a), in.lostError(hostOf(a)))
			}
		}
		out = append(out, st)
	}
	return out
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
