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

// item is something to take back: what this process knows, what is sealed, or
// both.
type item struct {
	cred providers.Credential
	text string // "" where it is not sealed
}

// items are those of creds and list that live.
func (v *revocations) items(ctx context.Context, m *made, src providers.Source, creds []providers.Credential, list []sealed) ([]item, error) {
	var out []item
	var errs []error
	over := func(at time.Time) bool { return !at.IsZero() && !at.After(v.c.now()) }
	if sl, ok := src.(providers.Sealer); ok {
		for _, s := range list {
			if over(s.ExpiresAt) {
				continue
			}
			c, err := sl.Unseal(ctx, m.request(), s.Text)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out = append(out, item{c, s.Text})
		}
	}
	for _, c := range creds {
		known := slices.ContainsFunc(out, func(i item) bool { return i.cred.Secret.Equal(c.Secret) })
		if !known && !over(c.ExpiresAt) {
			out = append(out, item{c, ""})
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
	list, err := v.items(ctx, m, made, creds, notes)
	if err != nil {
		failed = append(failed, err)
	}
	for _, i := range list {
		if err := rv.Revoke(ctx, r, i.cred); err != nil {
			failed = append(failed, err)
			continue
		}
		v.gone(m, i)
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

// gone notes what is taken back, so that the next attempt at the rest does not
// begin with it: there may be more than one attempt has time for.
func (v *revocations) gone(m *made, i item) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m.creds = slices.DeleteFunc(m.creds, func(k providers.Credential) bool { return k.Secret.Equal(i.cred.Secret) })
	m.Sealed = slices.DeleteFunc(m.Sealed, func(s sealed) bool { return s.Text == i.text })
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
