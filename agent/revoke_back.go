// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regmint/regmint/providers"
)

// sealed is a credential as its Sealer wrote it.
type sealed struct {
	Text      string    `json:"text"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// seal is c for the journal, "" where its source has no such form.
func (v *revocations) seal(ctx context.Context, src *source, m *made, c providers.Credential) (text string) {
	sl, ok := src.Source.(providers.Sealer)
	if !ok {
		return ""
	}
	defer func() {
		if p := recover(); p != nil {
			text = ""
			v.c.o.Log.Error("a provider failed", "panic", oneLine(fmt.Sprint(p)))
		}
	}()
	text, err := sl.Seal(ctx, m.request(), c)
	if err != nil {
		v.c.o.Log.Warn("what was made for a job is not in the journal", "host", m.Host.String(), "job", m.Job, "err", err.Error())
		return ""
	}
	return text
}

// unseal is what m has sealed and this process does not know of.
func (v *revocations) unseal(ctx context.Context, m *made, src providers.Source, list []sealed, known []providers.Credential) ([]providers.Credential, error) {
	sl, ok := src.(providers.Sealer)
	if !ok {
		return nil, nil
	}
	var out []providers.Credential
	var errs []error
	for _, s := range list {
		if !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(v.c.now()) {
			continue
		}
		c, err := sl.Unseal(ctx, m.request(), s.Text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.ContainsFunc(known, func(k providers.Credential) bool { return k.Secret.Equal(c.Secret) }) {
			c.ExpiresAt = s.ExpiresAt
			out = append(out, c)
		}
	}
	return out, errors.Join(errs...)
}

// takeBack revokes what is known, and sweeps by name what is not. done without
// an error: nothing is left.
func (v *revocations) takeBack(ctx context.Context, m *made, src *source, creds []providers.Credential, notes []sealed) (done bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			done, err = false, errors.New("a provider failed inside: "+oneLine(fmt.Sprint(p)))
		}
	}()
	var made providers.Source
	if src != nil {
		made = src.Source
	} else if made, err = v.c.reopen(m); err != nil {
		return false, err
	}
	rv, ok := made.(providers.Revoker)
	if !ok {
		return false, m.orphan("is another one by now")
	}
	r := m.request()
	var failed []error
	more, err := v.unseal(ctx, m, made, notes, creds)
	if err != nil {
		failed = append(failed, err)
	}
	for _, c := range append(creds, more...) {
		if !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(v.c.now()) {
			continue
		}
		if err := rv.Revoke(ctx, r, c); err != nil {
			failed = append(failed, err)
		}
	}
	if sw, ok := made.(providers.Sweeper); ok {
		err := sw.Sweep(ctx, r)
		return err == nil, err // whatever Revoke said: it has looked
	}
	if err := errors.Join(failed...); err != nil {
		return false, err
	}
	return len(notes) > 0 || src != nil && len(creds) > 0, nil // else what it is called is not known: it ends by itself
}

// orphan is an entry that only a person can see to.
func (m *made) orphan(what string) error {
	return &providers.Error{
		Kind: providers.Misconfigured, Err: fmt.Errorf("account %s, which made it, %s", oneLine(m.Account), what),
		Hint: "put it back, or end it at the registry",
	}
}

// reopen opens the account of an entry that an earlier agent wrote.
func (c *Core) reopen(m *made) (providers.Source, error) {
	a, err := c.AccountNamed(m.Account)
	p := c.provider(m.Provider)
	if p == nil {
		return nil, errors.New("there is no provider " + oneLine(m.Provider))
	}
	if err != nil { // an identity that no file holds
		var ok bool
		if a, ok = recognised(p, m.Host); !ok || a.Name != m.Account {
			return nil, m.orphan("is not configured any more")
		}
	}
	there := slices.ContainsFunc(a.Hosts, func(p providers.Pattern) bool { return p.MatchHost(m.Host) })
	if a.Provider != m.Provider || !there { // its secret is not for that host
		return nil, m.orphan("is another one by now")
	}
	d := c.Deps(a)
	d.Resolve = c.resolver(a, map[string]string{}, nil)
	return p.Open(a, d)
}
